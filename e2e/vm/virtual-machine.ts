import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/** What is missing for a virtual machine with a TPM here, for a line that says why a test is skipped; undefined: nothing. */
export function missingForMachines(): string | undefined {
  const programs = ["qemu-system-x86_64", "swtpm", "swtpm_setup", "mkfs.ext4", "debugfs", "zstd", "xz", "gcc"];
  const missing = programs.filter((name) => !isOnPath(name));
  for (const file of [FIRMWARE, "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"])
    if (!existsSync(file)) missing.push(file);
  return missing.length === 0 ? undefined : missing.join(", ");
}

/** A computer's TPM, and the disk beside it: both outlive a boot, and either may be taken from under the other. */
export class Hardware {
  readonly folder = mkdtempSync(join(tmpdir(), "agentkeys-machine-"));
  readonly disk = join(this.folder, "state.img");
  readonly #tpm = join(this.folder, "tpm");

  constructor() {
    mkdirSync(this.#tpm);
    const settings = join(this.folder, "swtpm_setup.conf");
    const ca = join(this.folder, "ca");
    mkdirSync(ca);
    writeFileSync(
      join(this.folder, "localca.conf"),
      `statedir = ${ca}\nsigningkey = ${ca}/key.pem\nissuercert = ${ca}/issuer.pem\ncertserial = ${ca}/serial\n`,
    );
    writeFileSync(
      join(this.folder, "localca.options"),
      "--platform-manufacturer Test\n--platform-version 1\n--platform-model VM\n",
    );
    writeFileSync(
      settings,
      `create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = ${this.folder}/localca.conf\n` +
        `create_certs_tool_options = ${this.folder}/localca.options\nactive_pcr_banks = sha256\n`,
    );
    const where = ["--tpm2", "--tpmstate", `dir://${this.#tpm}`, "--config", settings];
    execFileSync("swtpm_setup", [...where, "--create-ek-cert", "--lock-nvram", "--overwrite"], { stdio: "ignore" });
    this.wipeDisk();
  }

  /** The certificate of the authority that vouches for the TPM's endorsement key: PEM files, the issuer and its root. */
  get authority(): { issuer: string; root: string } {
    const ca = join(this.folder, "ca");
    return { issuer: join(ca, "issuer.pem"), root: join(ca, "swtpm-localca-rootca-cert.pem") };
  }

  wipeDisk(): void {
    rmSync(this.disk, { force: true });
    const file = openSync(this.disk, "w");
    ftruncateSync(file, 32 << 20);
    closeSync(file);
    execFileSync("mkfs.ext4", [
      "-q",
      "-F",
      "-L",
      "agentkeys",
      "-E",
      "lazy_itable_init=0,lazy_journal_init=0",
      this.disk,
    ]);
  }

  /** Puts a file on the disk, as an operator does who has it mounted. */
  put(name: string, content: string | Uint8Array): void {
    const source = join(this.folder, "put");
    writeFileSync(source, content);
    this.take(name);
    execFileSync("debugfs", ["-w", "-R", `write ${source} ${name}`, this.disk], { stdio: "ignore" });
  }

  /** Takes a file off the disk. */
  take(name: string): void {
    execFileSync("debugfs", ["-w", "-R", `rm ${name}`, this.disk], { stdio: "ignore" });
  }

  /**
   * Turns the machine on. `port` of this machine's loopback leads to 8443 inside; `broker` is reached from inside at 10.0.2.100:8091. Its
   * network has a DHCP server; this machine's loopback is at 10.0.2.2 there. With a `commandLine`, somebody sits at the firmware's shell
   * and starts the image with it.
   */
  boot(uki: Uint8Array, { port, broker, commandLine }: { port: number; broker: number; commandLine?: string }): Boot {
    const esp = join(this.folder, "esp");
    rmSync(esp, { recursive: true, force: true });
    mkdirSync(join(esp, "EFI", "BOOT"), { recursive: true });
    writeFileSync(join(esp, ...(commandLine === undefined ? ["EFI", "BOOT", "BOOTX64.EFI"] : ["image.efi"])), uki);
    if (commandLine !== undefined) writeFileSync(join(esp, "startup.nsh"), `fs0:\\image.efi ${commandLine}\r\n`);
    const variables = join(this.folder, "variables.fd");
    copyFileSync(FIRMWARE_VARIABLES, variables);
    const socket = join(this.folder, "tpm.sock");
    const tpm = spawn("swtpm", [
      ...["socket", "--tpm2", "--tpmstate", `dir=${this.#tpm}`],
      ...["--ctrl", `type=unixio,path=${socket}`, "--terminate"],
    ]);
    const forward = `hostfwd=tcp:127.0.0.1:${port}-:8443,guestfwd=tcp:10.0.2.100:8091-cmd:busybox nc 127.0.0.1 ${broker}`;
    const machine = spawn(
      "qemu-system-x86_64",
      [
        ...["-M", "q35,smm=off", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"],
        ...["-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio"],
        ...["-drive", `if=pflash,format=raw,unit=0,readonly=on,file=${FIRMWARE}`],
        ...["-drive", `if=pflash,format=raw,unit=1,file=${variables}`],
        ...["-drive", `if=none,id=state,format=raw,file=${this.disk}`, "-device", "virtio-blk-pci,drive=state"],
        ...["-drive", `if=none,id=esp,format=raw,readonly=on,file=fat:${esp}`],
        ...["-device", "virtio-blk-pci,drive=esp,bootindex=1"],
        ...["-netdev", `user,id=net,${forward}`, "-device", "virtio-net-pci,netdev=net"],
        ...["-chardev", `socket,id=tpm,path=${socket}`, "-tpmdev", "emulator,id=tpm0,chardev=tpm"],
        ...["-device", "tpm-crb,tpmdev=tpm0"],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    return new Boot(machine, tpm);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A machine that is on. */
export class Boot {
  /** What it wrote to its serial console, line by line. */
  readonly console: string[] = [];
  readonly #machine: ChildProcess;
  readonly #tpm: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #off = false;

  constructor(machine: ChildProcess, tpm: ChildProcess) {
    this.#machine = machine;
    this.#tpm = tpm;
    for (const stream of [machine.stdout, machine.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on("line", (line) => {
        // Firmware clears the screen and moves the cursor.
        // eslint-disable-next-line no-control-regex -- that is what is taken out
        this.console.push(line.replace(/\u001b\[[0-9;=?]*[A-Za-z]|[^\x20-\x7e]/g, ""));
        for (const look of this.#waiting) look();
      });
    }
    machine.once("exit", () => {
      this.#off = true;
      for (const look of this.#waiting) look();
    });
  }

  /** The first line that fits. @throws Error with the console when the machine goes off before it says that */
  says(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const line = this.console.find((each) => pattern.test(each));
        if (line === undefined && !this.#off) return;
        this.#waiting.delete(look);
        if (line !== undefined) resolve(line);
        else reject(new Error(`the machine went off without saying ${String(pattern)}:\n${this.console.join("\n")}`));
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Until it powers itself off. */
  async off(): Promise<void> {
    if (!this.#off) await once(this.#machine, "exit");
  }

  /** Pulls the plug. */
  async cut(): Promise<void> {
    this.#machine.kill("SIGKILL");
    await this.off();
    this.#tpm.kill("SIGTERM");
    if (this.#tpm.exitCode === null && this.#tpm.signalCode === null) await once(this.#tpm, "exit");
  }
}

function isOnPath(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], {
      stdio: "ignore",
      env: { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" },
    });
    return true;
  } catch {
    return false;
  }
}
