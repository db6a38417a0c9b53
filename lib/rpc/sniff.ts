import type { Socket } from "node:net";

/** The client connection preface of HTTP/2 (RFC 9113 section 3.4): a cleartext client that speaks it begins so. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/**
 * Looks at the first bytes of a fresh cleartext connection, puts them back and says which protocol it speaks; a preface that comes byte by
 * byte is waited for. What is neither goes to HTTP/1.1, whose parser refuses it. A connection that stays undecided for
 * `timeoutMs` is cut.
 *
 * `@httptoolkit/httpolyglot` does the same split, but keeps its HTTP/1.1 server to itself: it never listens, so Node's
 * headersTimeout and requestTimeout never run on it and its idle connections cannot be closed; connections that send nothing
 * are kept for ever, and a client that closes its half after the request gets no answer.
 */
export function sniff(socket: Socket, timeoutMs: number, decide: (protocol: "http/1.1" | "h2") => void): void {
  let seen: Buffer = Buffer.alloc(0);
  const cut = (): void => void socket.destroy();
  const timer = setTimeout(cut, timeoutMs);
  const settle = (): void => {
    clearTimeout(timer);
    socket.off("readable", look);
    socket.off("end", cut);
  };
  const look = (): void => {
    for (let chunk: unknown = socket.read(); chunk !== null; chunk = socket.read()) {
      seen = Buffer.concat([seen, chunk as Buffer]);
    }
    const isPreface = seen.subarray(0, PREFACE.length).equals(PREFACE.subarray(0, seen.length));
    if (seen.length === 0 || (isPreface && seen.length < PREFACE.length)) return;
    settle();
    socket.unshift(seen);
    decide(isPreface ? "h2" : "http/1.1");
    // A stream that was read piecewise stays paused. HTTP/2 takes the handle itself: flowing would eat its preface.
    if (!isPreface) socket.resume();
  };
  socket.on("readable", look);
  socket.once("end", cut);
  socket.once("close", settle);
}
