import type { TsmFiles } from "../providers/configfs-tsm.ts";

/** The kernel's side: an entry counts what is written to it, and its report repeats what it is over. */
export class FakeKernel implements TsmFiles {
  readonly entries = new Map<string, { generation: number; inblob: Uint8Array }>();
  everMade = 0;

  constructor(
    readonly provider: string,
    readonly auxiliary?: Buffer,
    /** Called when a report is read: somebody else on the machine. */
    readonly meanwhile: (entry: { generation: number; inblob: Uint8Array }) => void = () => undefined,
  ) {}

  mkdir(path: string): Promise<void> {
    this.everMade++;
    this.entries.set(path, { generation: 3, inblob: new Uint8Array() });
    return Promise.resolve();
  }

  rmdir(path: string): Promise<void> {
    this.entries.delete(path);
    return Promise.resolve();
  }

  write(path: string, contents: Uint8Array): Promise<void> {
    const entry = this.#entryOf(path);
    entry.inblob = contents;
    entry.generation++;
    return Promise.resolve();
  }

  read(path: string): Promise<Buffer> {
    const entry = this.#entryOf(path);
    switch (path.split("/").at(-1)) {
      case "provider":
        return Promise.resolve(Buffer.from(`${this.provider}\n`));
      case "generation":
        return Promise.resolve(Buffer.from(`${entry.generation}\n`));
      case "outblob": {
        const report = Buffer.concat([Buffer.from("report over "), entry.inblob]);
        this.meanwhile(entry);
        return Promise.resolve(report);
      }
      default:
        return this.auxiliary === undefined
          ? Promise.reject(Object.assign(new Error("no such file"), { code: "ENOENT" }))
          : Promise.resolve(this.auxiliary);
    }
  }

  #entryOf(path: string): { generation: number; inblob: Uint8Array } {
    const entry = this.entries.get(path.slice(0, path.lastIndexOf("/")));
    if (entry === undefined) throw new Error("no such entry");
    return entry;
  }
}
