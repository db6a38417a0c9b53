# One file, four images: docker build --target broker|keys|keys-tee|mailbox .
# `docker compose up --build` builds all of them.

FROM node:24-bookworm-slim AS build
WORKDIR /src
# The manifests first, so that a change of the code does not install everything again.
COPY package.json package-lock.json .npmrc ./
COPY gen/package.json gen/
COPY lib/package.json lib/
COPY services/broker/package.json services/broker/
COPY services/keys/package.json services/keys/
COPY daemon/package.json daemon/
COPY deploy/mailbox/package.json deploy/mailbox/
COPY e2e/package.json e2e/
COPY bench/package.json bench/
# No dependency needs its install script here.
RUN npm ci --ignore-scripts
COPY . .
RUN node build.mjs broker keys mailbox keys-tee tee-dev

# What all of them stand on: Node, and a folder that the process may write to. No npm packages, no sources.
FROM node:24-bookworm-slim AS runtime
ENV NODE_OPTIONS=--enable-source-maps
WORKDIR /app
RUN install -d -o node -g node -m 0700 /var/lib/agentkeys
USER node
STOPSIGNAL SIGTERM
CMD ["node", "main.js"]

FROM runtime AS broker
COPY --from=build /src/dist/broker ./
ENV AGENTKEYS_BROKER_LISTEN=0.0.0.0:8091 \
    AGENTKEYS_BROKER_STORE=/var/lib/agentkeys/broker.sqlite
VOLUME /var/lib/agentkeys
EXPOSE 8091
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8091/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

FROM runtime AS keys
COPY --from=build /src/dist/keys ./
ENV AGENTKEYS_KEYS_LISTEN=0.0.0.0:8092
EXPOSE 8092
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8092/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# Development only: the TEE worker beside a software TPM. It proves nothing about the machine that it runs on.
FROM runtime AS keys-tee
USER root
RUN apt-get update && apt-get install -y --no-install-recommends swtpm swtpm-tools && rm -rf /var/lib/apt/lists/*
USER node
COPY --from=build /src/dist/tee-dev ./
COPY --from=build /src/dist/keys-tee ./keys-tee
ENV AGENTKEYS_KEYS_LISTEN=0.0.0.0:8092
# What it keeps, the TPM's state too, is in the folder that it is started in.
WORKDIR /var/lib/agentkeys
VOLUME /var/lib/agentkeys
EXPOSE 8092
CMD ["node", "/app/main.js"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "require('https').get({ host: '127.0.0.1', port: 8092, path: '/readyz', rejectUnauthorized: false }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]

# Development only.
FROM runtime AS mailbox
COPY --from=build /src/dist/mailbox ./
ENV AGENTKEYS_MAILBOX_SMTP_LISTEN=0.0.0.0:1025 \
    AGENTKEYS_MAILBOX_LISTEN=0.0.0.0:8093
EXPOSE 1025 8093
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8093/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
