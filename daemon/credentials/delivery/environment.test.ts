import { devNull } from "node:os";
import { expect, test } from "vitest";

import { agentEnvironment } from "./environment.ts";

const access = { url: "http://127.0.0.1:1/v1/credentials", token: { value: "t" } };

test("an agent gets credentials from the endpoint, and from nowhere else", () => {
  const env = agentEnvironment(
    {
      PATH: "/bin",
      HOME: "/home/ada",
      UNSET: undefined,
      AWS_ACCESS_KEY_ID: "AKIA",
      AWS_SECRET_ACCESS_KEY: "s",
      AWS_SESSION_TOKEN: "s",
      AWS_PROFILE: "admin",
      AWS_ROLE_ARN: "arn:aws:iam::1:role/x",
      AWS_WEB_IDENTITY_TOKEN_FILE: "/x",
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/x",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/x",
      AWS_SHARED_CREDENTIALS_FILE: "/x",
      AWS_ENDPOINT_URL_S3: "http://127.0.0.1:2",
    },
    access,
    "eu-west-1",
  );
  expect(env).toEqual({
    PATH: "/bin",
    HOME: "/home/ada",
    AWS_ENDPOINT_URL_S3: "http://127.0.0.1:2",
    AWS_REGION: "eu-west-1",
    AWS_DEFAULT_REGION: "eu-west-1",
    AWS_SHARED_CREDENTIALS_FILE: devNull,
    AWS_CONFIG_FILE: devNull,
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONTAINER_CREDENTIALS_FULL_URI: access.url,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: "t",
  });
});

test("an agent can run agentkeys, but learns no secret of the services", () => {
  const env = agentEnvironment(
    {
      AGENTKEYS_BROKER_URL: "https://broker.example",
      AGENTKEYS_STATE_DIR: "/srv/state",
      AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: "k",
      AGENTKEYS_BROKER_SMTP_URL: "smtp://u:p@mail.example",
      AGENTKEYS_OF_TOMORROW: "x",
      DEV_KEY_SERVICE_MASTER_SECRET: "m",
    },
    access,
    undefined,
  );
  expect(Object.keys(env).filter((name) => /AGENTKEYS|DEV_/.test(name))).toEqual([
    "AGENTKEYS_BROKER_URL",
    "AGENTKEYS_STATE_DIR",
  ]);
  expect(env).not.toHaveProperty("AWS_REGION");
});
