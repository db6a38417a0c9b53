import { constants, createHmac, generateKeyPairSync, type KeyObject, privateDecrypt } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";

import { type Cbor, decodeLeadingCbor, encodeCbor } from "@agentkeys/lib/evidence/cbor";
import { systemRandom } from "@agentkeys/lib/random";
import { EK_RSA_HANDLE, marshalPublic, nameOf, template, type TpmAddress, type TpmPublic } from "@agentkeys/lib/tpm2";
import { commandCode, handle, nvAttribute } from "@agentkeys/lib/tpm2/constants";
import { digest, type HashName, hashOfNumber } from "@agentkeys/lib/tpm2/hash";
import { decryptCfb, encryptCfb, kdfA, labelBytes } from "@agentkeys/lib/tpm2/kdf";
import { TpmReader, TpmWriter } from "@agentkeys/lib/tpm2/marshal";
import { sessionKey } from "@agentkeys/lib/tpm2/session";
import { openTransport, type TpmTransport } from "@agentkeys/lib/tpm2/transport";

/** What the hypervisor is asked to put into its document. */
export interface NsmFields {
  userData: Buffer | null;
  nonce: Buffer | null;
  publicKey: Buffer | null;
}

export interface NitroTpm {
  readonly address: { unix: string };
  /** How many NV indices it holds besides those of the TPM behind it. */
  readonly messages: () => number;
  stop(): Promise<void>;
}

/**
 * A stand-in for AWS's NitroTPM, in front of a software TPM: it passes everything on but what a document is asked for with, and answers
 * that itself, as AWS's NitroTPM-Tools speak to the real one. The endorsement key is its own, since sessions that are salted by it
 * end here; every HMAC is checked. `issue` makes the document, or names an error of the security module. No hypervisor is in it.
 */
export async function startNitroTpm(
  behind: TpmAddress,
  folder: string,
  issue: (fields: NsmFields) => Buffer | string,
): Promise<NitroTpm> {
  const unix = join(folder, "nitro-tpm.sock");
  rmSync(unix, { force: true });
  const state: State = { ...endorsementKey(), sessions: new Map(), messages: new Map(), issue };
  // The TPM behind takes one connection at a time: who asks it next has to find the last one closed.
  const closing: Promise<void>[] = [];
  const server: Server = createServer((socket) => {
    let received = Buffer.alloc(0);
    const transport = openTransport(behind);
    socket.on("data", (part) => {
      received = Buffer.concat([received, part]);
      if (received.length < 10 || received.length < received.readUInt32BE(2)) return;
      const command = received;
      received = Buffer.alloc(0);
      void transport.then((tpm) => answer(state, command, tpm)).then((bytes) => socket.write(bytes));
    });
    socket.on("close", () => closing.push(transport.then((tpm) => tpm.close())));
  });
  await new Promise<void>((listening) => server.listen(unix, listening));
  return {
    address: { unix },
    messages: () => state.messages.size,
    stop: async () => {
      await new Promise<void>((closed) => void server.close(() => closed()));
      await Promise.all(closing);
    },
  };
}

interface Session {
  hash: HashName;
  key: Buffer;
  nonceTpm: Buffer;
}

interface Message {
  area: Buffer;
  auth: Buffer;
  data: Buffer;
  written: boolean;
}

interface State {
  ek: TpmPublic;
  privateKey: KeyObject;
  sessions: Map<number, Session>;
  messages: Map<number, Message>;
  issue: (fields: NsmFields) => Buffer | string;
}

/** What a message is sent with. */
const inMessages = new Set<number>([
  commandCode.nvDefineSpace,
  commandCode.nvWrite,
  commandCode.nvRead,
  commandCode.awsNsmRequest,
]);
const FIRST_SESSION = 0x02f00000;
const [RC_AUTH_FAIL, RC_HANDLE, RC_VALUE] = [0x98e, 0x18b, 0x1c4];

function endorsementKey(): Pick<State, "ek" | "privateKey"> {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const modulus = Buffer.from(publicKey.export({ format: "jwk" }).n ?? "", "base64url");
  return { ek: { ...template.endorsementKey, modulus }, privateKey };
}

async function answer(state: State, bytes: Buffer, tpm: TpmTransport): Promise<Buffer> {
  const command = new TpmReader(bytes, "a command");
  const [, , code] = [command.u16(), command.u32(), command.u32()];
  if (command.left < 4) return tpm.transmit(bytes);
  const first = command.u32();
  if (code === commandCode.readPublic && first === EK_RSA_HANDLE) {
    return success(
      new TpmWriter().sized(marshalPublic(state.ek)).sized(nameOf(state.ek)).sized(Buffer.alloc(0)).done(),
    );
  }
  if (code === commandCode.startAuthSession && first === EK_RSA_HANDLE) return startSession(state, command);
  if (code === commandCode.flushContext && state.sessions.delete(first)) return success(Buffer.alloc(0));
  if (code === commandCode.nvUndefineSpace && state.messages.delete(bytes.readUInt32BE(14))) {
    return success(new TpmWriter().u32(0).sized(Buffer.alloc(0)).u8(1).sized(Buffer.alloc(0)).done(), 0x8002);
  }
  if (!inMessages.has(code)) return tpm.transmit(bytes);
  const second = code === commandCode.nvDefineSpace ? undefined : command.u32();
  const area = new TpmReader(command.bytes(command.u32()), "an authorization");
  const session = state.sessions.get(area.u32());
  if (session === undefined) return tpm.transmit(bytes);
  const [nonceCaller, attributes, mac] = [area.sized(64), area.u8(), area.sized(64)];
  area.end();
  return inSession(state, session, { code, first, second, nonceCaller, attributes, mac, parameters: command.rest() });
}

function startSession(state: State, command: TpmReader): Buffer {
  const bound = command.u32();
  const [nonceCaller, encrypted, kind] = [command.sized(64), command.sized(256), command.u8()];
  if (command.u16() !== 0x0010) command.bytes(4); // key size and mode of the symmetric cipher
  const hash = hashOfNumber(command.u16());
  command.end();
  if (bound !== handle.null || kind !== 0 || hash === undefined) return failure(RC_VALUE);
  const salt = privateDecrypt(
    {
      key: state.privateKey,
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: "sha256",
      oaepLabel: labelBytes("SECRET"),
    },
    encrypted,
  );
  const nonceTpm = Buffer.from(systemRandom(nonceCaller.length));
  const at = FIRST_SESSION + state.sessions.size;
  state.sessions.set(at, { hash, nonceTpm, key: sessionKey(hash, salt, nonceTpm, nonceCaller) });
  return success(new TpmWriter().u32(at).sized(nonceTpm).done());
}

interface Command {
  code: number;
  first: number;
  second: number | undefined;
  nonceCaller: Buffer;
  attributes: number;
  mac: Buffer;
  parameters: Buffer;
}

/** Checks the command's HMAC, does it, and authenticates the answer (Part 1, sections 18.7 and 19.6). */
function inSession(state: State, session: Session, command: Command): Buffer {
  const { code, first, second, nonceCaller, attributes, mac } = command;
  const message = second === undefined ? undefined : state.messages.get(second);
  if (second !== undefined && (message === undefined || first !== second)) return failure(RC_HANDLE);
  const name = message === undefined ? new TpmWriter().u32(first).done() : nameOfMessage(message);
  const names = second === undefined ? [name] : [name, name];
  const key = Buffer.concat([session.key, message?.auth ?? Buffer.alloc(0)]);
  const macOf = (what: readonly Uint8Array[], newer: Buffer, older: Buffer): Buffer =>
    createHmac(session.hash, key)
      .update(digest(session.hash, ...what))
      .update(newer)
      .update(older)
      .update(Uint8Array.of(attributes))
      .digest();
  const cc = new TpmWriter().u32(code).done();
  if (!macOf([cc, ...names, command.parameters], nonceCaller, session.nonceTpm).equals(mac))
    return failure(RC_AUTH_FAIL);

  const cipher = (newer: Buffer, older: Buffer): [Buffer, Buffer] => {
    const made = kdfA(session.hash, key, "CFB", newer, older, 256);
    return [made.subarray(0, 16), made.subarray(16)];
  };
  const parameters = Buffer.from(command.parameters);
  if ((attributes & 0x20) !== 0) {
    const [secret, iv] = cipher(nonceCaller, session.nonceTpm);
    parameters.set(decryptCfb(secret, iv, parameters.subarray(2, 2 + parameters.readUInt16BE())), 2);
  }
  const result = carryOut(state, code, message, new TpmReader(parameters, "a command's parameters"));
  if (typeof result === "number") return failure(result);
  session.nonceTpm = Buffer.from(systemRandom(nonceCaller.length));
  if ((attributes & 0x40) !== 0) {
    const [secret, iv] = cipher(session.nonceTpm, nonceCaller);
    result.set(encryptCfb(secret, iv, result.subarray(2)), 2);
  }
  const proof = macOf([new TpmWriter().u32(0).done(), cc, result], session.nonceTpm, nonceCaller);
  const body = new TpmWriter().sized32(result).sized(session.nonceTpm).u8(attributes).sized(proof).done();
  return success(body, 0x8002);
}

/** The answer's parameters, or a response code. */
function carryOut(state: State, code: number, message: Message | undefined, parameters: TpmReader): Buffer | number {
  if (code === commandCode.nvDefineSpace) {
    const [auth, area] = [parameters.sized(64), parameters.sized(128)];
    parameters.end();
    const index = area.readUInt32BE();
    if (state.messages.has(index)) return 0x14c;
    state.messages.set(index, {
      area,
      auth,
      data: Buffer.alloc(area.readUInt16BE(area.length - 2), 0xff),
      written: false,
    });
    return Buffer.alloc(0);
  }
  if (message === undefined) return RC_HANDLE;
  if (code === commandCode.nvWrite) {
    const [data, at] = [parameters.sized(1024), parameters.u16()];
    message.data.set(data, at);
    message.written = true;
    return Buffer.alloc(0);
  }
  if (code === commandCode.nvRead) {
    const [size, at] = [parameters.u16(), parameters.u16()];
    return new TpmWriter().sized(message.data.subarray(at, at + size)).done();
  }
  if (code !== commandCode.awsNsmRequest || parameters.left !== 0) return RC_VALUE;
  message.data.set(nsm(message.data, state.issue));
  return Buffer.alloc(0);
}

/** The security module: a request in, an answer out, in the shape of AWS's nsm-api. */
function nsm(bytes: Buffer, issue: State["issue"]): Buffer {
  const request = decodeLeadingCbor(Buffer.from(bytes)) as ReadonlyMap<string, Cbor>;
  const asked = request.get("Attestation");
  if (!(asked instanceof Map)) return encodeCbor(new Map([["Error", "InvalidOperation"]]));
  const field = (name: string): Buffer | null => (asked as ReadonlyMap<string, Cbor>).get(name) as Buffer | null;
  const made = issue({ userData: field("user_data"), nonce: field("nonce"), publicKey: field("public_key") });
  if (typeof made === "string") return encodeCbor(new Map([["Error", made]]));
  return encodeCbor(new Map([["Attestation", new Map([["document", made]])]]));
}

function nameOfMessage({ area, written }: Message): Buffer {
  const hash = hashOfNumber(area.readUInt16BE(4)) ?? "sha256";
  const now = Buffer.from(area);
  if (written) now.writeUInt32BE((now.readUInt32BE(6) | nvAttribute.written) >>> 0, 6);
  return Buffer.concat([area.subarray(4, 6), digest(hash, now)]);
}

function success(body: Uint8Array, tag = 0x8001): Buffer {
  return new TpmWriter()
    .u16(tag)
    .u32(10 + body.length)
    .u32(0)
    .bytes(body)
    .done();
}

function failure(code: number): Buffer {
  return new TpmWriter().u16(0x8001).u32(10).u32(code).done();
}
