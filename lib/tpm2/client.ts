import { type RandomBytes, systemRandom } from "../random.ts";
import { type CommandCode, commandCode, handle, sessionAttribute, structureTag } from "./constants.ts";
import { TpmChannelError, TpmError } from "./errors.ts";
import { TpmReader, TpmWriter } from "./marshal.ts";
import { SessionExchange, type SessionUse } from "./session.ts";
import type { TpmTransport } from "./transport.ts";

/** What a command works on: a handle and the name that authorizations cover. */
export interface TpmEntity {
  handle: number;
  /** Of an object or NV index; a hierarchy, PCR or session is named by its handle. */
  name: Uint8Array;
}

/** How the use of an entity is authorized: by its empty password, or in a session. */
export type Authorization = "empty-password" | SessionUse;

/** At most one of them is a session: no command here needs two, whose HMACs would have to cover each other's nonces. */
export type Authorizations = readonly [] | readonly [Authorization] | readonly ["empty-password", Authorization];

export interface TpmCommand {
  code: CommandCode;
  /** In the order of the specification; those that need an authorization come first. */
  entities?: readonly TpmEntity[];
  authorizations?: Authorizations;
  parameters?: Buffer;
  /** Whether the answer begins with a handle; it is flushed when the sequence ends, unless it was before. */
  makesHandle?: boolean;
}

/** What the TPM answered: a handle where the command makes one, and the parameters in clear. */
export interface TpmAnswer {
  handle: number;
  parameters: TpmReader;
}

/** Commands that follow one another with nothing of anybody else's in between. The functions in `commands/` take one. */
export interface TpmSequence {
  readonly random: RandomBytes;
  /** What this connection has shown so far: see `storageRoot`. */
  readonly seen: { storageRoot?: Uint8Array };
  /** @throws TpmError, TpmChannelError, TpmFormatError */
  execute(command: TpmCommand): Promise<TpmAnswer>;
  /** Takes an object or session out of the TPM, before the sequence ends. */
  flush(of: { handle: number }): Promise<void>;
}

/** A connection to a TPM. */
export interface Tpm {
  /**
   * Runs a sequence of commands alone: a TPM without a resource manager holds three objects at a time. What the sequence loaded or
   * opened and did not flush is flushed after it, whether it succeeded or not. A sequence that calls `use` waits for itself.
   */
  use<T>(sequence: (tpm: TpmSequence) => Promise<T>): Promise<T>;
  /** Closes the connection once the running sequence has ended. */
  close(): Promise<void>;
}

/** What tests replace. */
export interface TpmDependencies {
  random?: RandomBytes;
  sleep?: (ms: number) => Promise<void>;
}

export function permanent(of: number): TpmEntity {
  return { handle: of, name: new TpmWriter().u32(of).done() };
}

const systemSleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

const RETRY_MS = 20;
const MAX_TRIES = 50;

export function tpmOver(transport: TpmTransport, dependencies: TpmDependencies = {}): Tpm {
  const { random = systemRandom, sleep = systemSleep } = dependencies;
  const seen: TpmSequence["seen"] = {};
  let last: Promise<unknown> = Promise.resolve();

  function alone<T>(work: () => Promise<T>): Promise<T> {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  }

  /** Sends again what a TPM was too busy to take: it changed nothing. */
  async function send(command: Buffer, code: CommandCode): Promise<TpmReader> {
    for (let tries = 1; ; tries++) {
      const answer = new TpmReader(await transport.transmit(command), "the TPM's answer");
      const [tag, length, responseCode] = [answer.u16(), answer.u32(), answer.u32()];
      if (length !== answer.left + 10) throw new TpmChannelError("the TPM's answer is not as long as it says");
      if (responseCode === 0) {
        if (tag !== command.readUInt16BE()) throw new TpmChannelError("the TPM's answer leaves out its authorizations");
        return answer;
      }
      const error = new TpmError(responseCode, code);
      const busy = error.is("retry") || error.is("yielded") || error.is("testing") || error.is("nvRate");
      if (!busy || tries === MAX_TRIES) throw error;
      await sleep(RETRY_MS);
    }
  }

  async function execute(command: TpmCommand): Promise<TpmAnswer> {
    const { code, entities = [], authorizations = [], makesHandle = false } = command;
    const exchanges = authorizations.map((one) => (one === "empty-password" ? one : new SessionExchange(one, random)));
    const session = exchanges.find((one) => one !== "empty-password");
    const parameters = command.parameters ?? Buffer.alloc(0);
    const wire = session?.protect(parameters) ?? parameters;
    const names = entities.map(({ name }) => name);
    const area = new TpmWriter();
    for (const one of exchanges)
      area.bytes(one === "empty-password" ? EMPTY_PASSWORD : one.authorization(code, names, wire));

    const body = new TpmWriter();
    for (const entity of entities) body.u32(entity.handle);
    if (exchanges.length > 0) body.sized32(area.done());
    body.bytes(wire);
    const bytes = body.done();
    const tag = exchanges.length > 0 ? structureTag.sessions : structureTag.noSessions;
    const answer = await send(
      new TpmWriter()
        .u16(tag)
        .u32(10 + bytes.length)
        .u32(code)
        .bytes(bytes)
        .done(),
      code,
    );

    const made = makesHandle ? answer.u32() : 0;
    if (exchanges.length === 0) return { handle: made, parameters: answer };
    let clear = answer.bytes(answer.u32());
    for (const one of exchanges) {
      const [nonceTpm, attributes, mac] = [answer.sized(64), answer.u8(), answer.sized(64)];
      if (one !== "empty-password") clear = one.open(code, clear, { nonceTpm, attributes, mac });
    }
    answer.end();
    return { handle: made, parameters: new TpmReader(clear, "the TPM's answer") };
  }

  async function sequence<T>(work: (tpm: TpmSequence) => Promise<T>): Promise<T> {
    const live = new Set<number>();
    const flush = async (of: { handle: number }): Promise<void> => {
      await execute({ code: commandCode.flushContext, parameters: new TpmWriter().u32(of.handle).done() });
      live.delete(of.handle);
    };
    try {
      return await work({
        random,
        seen,
        flush,
        execute: async (command) => {
          const answer = await execute(command);
          if (command.makesHandle === true) live.add(answer.handle);
          return answer;
        },
      });
    } finally {
      // A connection that broke has taken everything with it, or nothing can be done about it.
      for (const one of [...live].reverse()) await flush({ handle: one }).catch(() => undefined);
    }
  }

  return {
    use: (work) => alone(() => sequence(work)),
    close: () => alone(() => transport.close()),
  };
}

const EMPTY_PASSWORD = new TpmWriter().u32(handle.password).u16(0).u8(sessionAttribute.continueSession).u16(0).done();
