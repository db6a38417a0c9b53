/** A mail to one person. */
export interface Mail {
  to: string;
  subject: string;
  text: string;
  html: string;
}

export interface Mailer {
  /** Resolves when the mail server has taken responsibility for the mail; rejects with what it said otherwise. */
  send(mail: Mail): Promise<void>;
  /** Resolves when mail could be sent now. */
  check(): Promise<void>;
  close(): void;
}
