import { createCipheriv, createDecipheriv, createPublicKey } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import type { Clock } from "@agentkeys/lib/clock";
import type { NonEmpty } from "@agentkeys/lib/evidence/evidence";
import { authenticateNitro } from "@agentkeys/lib/evidence/nitro";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";

import { AwsError } from "../local-aws/aws-error.ts";
import type { AdminKey } from "../local-aws/caller.ts";
import { randomName } from "../local-aws/names.ts";
import { isAllowed } from "../local-aws/policy/decide.ts";
import { parsePolicy } from "../local-aws/policy/document.ts";
import { verifySigV4 } from "../local-aws/sigv4.ts";
import { envelope } from "./envelope.ts";

/** KMS refuses documents that are older. */
const MAX_DOCUMENT_AGE_MS = 5 * 60_000;

export interface LocalKms {
  url: string;
  /** The ARN of the one key that it has. */
  keyId: string;
  admin: AdminKey;
  /** Replaces the key's policy. */
  setPolicy(policy: object): void;
  /** Changes answers before they are sent: a KMS that is somebody else's. */
  tamper?: ((answer: Record<string, unknown>) => unknown) | undefined;
  close(): Promise<void>;
}

/**
 * Starts a stand-in for the two calls of AWS KMS that an attested recipient makes, over AWS's JSON protocol. It is not AWS: it shows that the
 * client speaks the protocol, and that the conditions of a key's policy are met or not. It verifies SigV4, the Nitro document under
 * `roots`, the policy's `kms:RecipientAttestation:…` conditions and the encryption context.
 */
export async function startLocalKms(o: {
  roots: NonEmpty<string>;
  clock: Clock;
  random: RandomBytes;
}): Promise<LocalKms> {
  const keyId = "arn:aws:kms:eu-central-1:123456789012:key/7b0c2f5e-0d4d-4b43-9c40-2e4b2a0f8f11";
  const wrappingKey = o.random(32);
  const admin = { accessKeyId: randomName("AKIA", o.random), secretAccessKey: "local-kms-secret" };
  let statements = parsePolicy(JSON.stringify({ Version: "2012-10-17", Statement: [] }), "permissions");

  const server = createServer((incoming, outgoing) => {
    void answer(incoming)
      .catch((error: unknown) => {
        if (!(error instanceof AwsError)) throw error;
        return { status: error.status, body: { __type: error.code, message: error.message } };
      })
      .then(({ status, body }) => {
        const type = "application/x-amz-json-1.1";
        outgoing.writeHead(status, { "content-type": type, "x-amzn-requestid": randomId(o.random) });
        outgoing.end(JSON.stringify(body));
      });
  });

  async function answer(incoming: IncomingMessage): Promise<{ status: number; body: Record<string, unknown> }> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    const [body, { method = "", url: target = "", headers }] = [Buffer.concat(chunks), incoming];
    await verifySigV4(
      { method, target, headers, body },
      { service: "kms", clock: o.clock, find: () => Promise.resolve(admin) },
    );
    const call = String(headers["x-amz-target"]).replace(/^TrentService\./, "");
    const request = JSON.parse(body.toString("utf8")) as Request;
    const document = recipientOf(request);
    const context = new Map<string, readonly string[]>(
      Object.entries(document.pcrs).flatMap(([name, value]) => {
        const pcr = `kms:recipientattestation:${name}`;
        return name === "pcr0"
          ? [[pcr, [value]] as const, ["kms:recipientattestation:imagesha384", [value]] as const]
          : [[pcr, [value]] as const];
      }),
    );
    if (!isAllowed(statements, { action: `kms:${call}`, resource: keyId, context })) {
      throw new AwsError("AccessDeniedException", 400, "The ciphertext refers to a key that you may not use.");
    }
    const reply = call === "GenerateDataKey" ? newDataKey(request, document) : oldDataKey(request, document);
    local.tamper?.(reply);
    return { status: 200, body: reply };
  }

  /** The document, as far as KMS goes: of the hypervisor, fresh, with a key to encrypt to. */
  function recipientOf({ Recipient, KeyId }: Request): { pcrs: Readonly<Record<string, string>>; publicKey: Buffer } {
    if (KeyId !== keyId) throw new AwsError("NotFoundException", 400, "Key does not exist");
    if (Recipient?.KeyEncryptionAlgorithm !== "RSAES_OAEP_SHA_256")
      throw new AwsError("ValidationException", 400, "Recipient");
    try {
      const at = new Date(o.clock());
      const { madeAt, pcrs, publicKey } = authenticateNitro(Buffer.from(Recipient.AttestationDocument, "base64"), {
        roots: o.roots,
        at,
      });
      if (at.getTime() - madeAt.getTime() > MAX_DOCUMENT_AGE_MS || publicKey === undefined)
        throw new Error("stale, or no key");
      return { pcrs, publicKey };
    } catch {
      throw new AwsError("ValidationException", 400, "The attestation document is not valid.");
    }
  }

  function newDataKey(request: Request, { publicKey }: { publicKey: Buffer }): Record<string, unknown> {
    const dataKey = o.random(32);
    const nonce = o.random(12);
    const cipher = createCipheriv("aes-256-gcm", wrappingKey, nonce);
    cipher.setAAD(contextBytes(request));
    const blob = Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
    return { CiphertextBlob: blob.toString("base64"), KeyId: keyId, ...forRecipient(dataKey, publicKey) };
  }

  function oldDataKey(request: Request, { publicKey }: { publicKey: Buffer }): Record<string, unknown> {
    const blob = Buffer.from(request.CiphertextBlob ?? "", "base64");
    try {
      const decipher = createDecipheriv("aes-256-gcm", wrappingKey, blob.subarray(0, 12));
      decipher.setAAD(contextBytes(request));
      decipher.setAuthTag(blob.subarray(-16));
      const dataKey = Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]);
      return { KeyId: keyId, EncryptionAlgorithm: "SYMMETRIC_DEFAULT", ...forRecipient(dataKey, publicKey) };
    } catch {
      throw new AwsError("InvalidCiphertextException", 400, "");
    }
  }

  function forRecipient(dataKey: Uint8Array, publicKey: Buffer) {
    const key = createPublicKey({ key: publicKey, format: "der", type: "spki" });
    return { CiphertextForRecipient: envelope(dataKey, key, o.random).toString("base64") };
  }

  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const local: LocalKms = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    keyId,
    admin,
    setPolicy: (policy) => void (statements = parsePolicy(JSON.stringify(policy), "permissions")),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return local;
}

interface Request {
  KeyId?: string;
  CiphertextBlob?: string;
  EncryptionContext?: Record<string, string>;
  Recipient?: { KeyEncryptionAlgorithm: string; AttestationDocument: string };
}

function contextBytes({ EncryptionContext = {} }: Request): Buffer {
  return Buffer.from(JSON.stringify(Object.entries(EncryptionContext).sort()));
}
