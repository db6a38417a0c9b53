/** A person at a browser: opens the link from a sign-in mail and presses a button on the page behind it. */
export interface Confirmer {
  /** What kind of browser it is, for people. */
  readonly name: string;
  /** Presses the button that begins with "Yes", whatever it agrees to. Throws when the pages are not as a person would need them. */
  confirm(link: string): Promise<Visit>;
  /** Presses "No, this is not me". */
  refuse(link: string): Promise<Visit>;
  close(): Promise<void>;
}

/** What the person read. */
export interface Visit {
  /** The text of the page that shows what is being signed in. */
  review: string;
  /** The text of the page after the press. */
  outcome: string;
}

/** How the names of the two buttons begin: what "Yes" agrees to stands behind it. */
export const BUTTONS = { confirm: "Yes, ", refuse: "No, this is not me" } as const;
