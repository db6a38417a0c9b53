/** A mail as it was received. */
export interface Mail {
  /** Counts up from 1 over the life of the process. */
  id: number;
  /** Epoch milliseconds. */
  receivedAt: number;
  /** The envelope's sender; empty for a bounce. */
  from: string;
  /** The envelope's recipients: who the mail was really sent to, whatever its To line says. */
  to: readonly string[];
  subject: string;
  text: string;
  /** The HTML part as it came: untrusted. Empty when there is none. */
  html: string;
  /** Every http(s) address in the text part, in order. */
  links: readonly string[];
}

/** Which mails are asked for. */
export interface MailFilter {
  /** A recipient's address, in any case. */
  to?: string | undefined;
  /** Only mails with a greater id. */
  after?: number | undefined;
  /** Only mails with a link to this path. */
  linkTo?: string | undefined;
}

/** The mails received, newest first, in memory only. */
export interface Inbox {
  /** Keeps the mail; the oldest ones go when there are too many. */
  add(mail: Omit<Mail, "id" | "links">): Mail;
  list(filter?: MailFilter): readonly Mail[];
  get(id: number): Mail | undefined;
  clear(): void;
  /** The newest mail that fits, as soon as there is one; `undefined` once the signal says that nobody waits any more. */
  wait(filter: MailFilter, signal: AbortSignal): Promise<Mail | undefined>;
}

/** Makes an inbox that holds at most `capacity` mails. */
export function createInbox(capacity: number): Inbox {
  let mails: Mail[] = [];
  let lastId = 0;
  const waiting = new Set<(mail: Mail) => void>();
  const list = (filter: MailFilter = {}): Mail[] => mails.filter((mail) => fits(mail, filter));

  return {
    add(received) {
      const mail = { ...received, id: ++lastId, links: linksIn(received.text) };
      mails = [mail, ...mails].slice(0, capacity);
      for (const offer of [...waiting]) offer(mail);
      return mail;
    },
    list,
    get: (id) => mails.find((mail) => mail.id === id),
    clear() {
      mails = [];
    },
    wait(filter, signal) {
      const there = list(filter)[0];
      if (there !== undefined || signal.aborted) return Promise.resolve(there);
      return new Promise((resolve) => {
        const settle = (mail: Mail | undefined): void => {
          waiting.delete(offer);
          signal.removeEventListener("abort", giveUp);
          resolve(mail);
        };
        const offer = (mail: Mail): void => {
          if (fits(mail, filter)) settle(mail);
        };
        const giveUp = (): void => settle(undefined);
        waiting.add(offer);
        signal.addEventListener("abort", giveUp);
      });
    },
  };
}

/** A piece of a text: an http(s) address, or what stands between two of them. */
export interface TextPiece {
  text: string;
  link: boolean;
}

/** Cuts a text at its http(s) addresses. Full stops and brackets that end a sentence are not part of an address. */
export function piecesOf(text: string): TextPiece[] {
  return text
    .split(/(https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]])/)
    .map((piece, index) => ({ text: piece, link: index % 2 === 1 }))
    .filter((piece) => piece.text !== "");
}

function linksIn(text: string): string[] {
  return piecesOf(text)
    .filter((piece) => piece.link)
    .map((piece) => piece.text);
}

function fits(mail: Mail, filter: MailFilter): boolean {
  const { after = 0, linkTo } = filter;
  const to = filter.to?.toLowerCase();
  return (
    mail.id > after &&
    (to === undefined || mail.to.some((recipient) => recipient.toLowerCase() === to)) &&
    (linkTo === undefined || mail.links.some((link) => new URL(link).pathname === linkTo))
  );
}
