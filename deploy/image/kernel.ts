import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** A kernel's Debian package, unpacked. */
export interface Kernel {
  version: string;
  /** Its image. */
  image: string;
  /** `lib/modules/VERSION/kernel`. */
  modules: string;
}

/** Debian's own kernel for virtual machines, as it is signed by Debian's archive; or the one in a package file. */
export function unpackKernel(folder: string, file?: string): void {
  if (file !== undefined) {
    execFileSync("dpkg-deb", ["-x", file, folder]);
    return;
  }
  const depends = execFileSync("apt-cache", ["depends", "linux-image-cloud-amd64"], { encoding: "utf8" });
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error("linux-image-cloud-amd64 is not known here: run apt-get update");
  // As root, apt would drop its rights and could not write where only we can.
  execFileSync("apt-get", ["download", "-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", name], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  execFileSync("sh", ["-c", 'dpkg-deb -x "$1"_*.deb .', "sh", name], { cwd: folder });
}

/** What a package was unpacked to. @throws Error where it is none of a kernel's */
export function kernelIn(folder: string): Kernel {
  const boot = join(folder, "boot");
  const image = existsSync(boot) ? readdirSync(boot).find((name) => name.startsWith("vmlinuz-")) : undefined;
  if (image === undefined)
    throw new Error("the package holds no kernel: it must be a linux-image-VERSION, not one that depends on it");
  const version = image.slice("vmlinuz-".length);
  // Where /lib is a link to /usr/lib, packages are of either form.
  const modules = ["lib", "usr/lib"].map((lib) => join(folder, lib, "modules", version, "kernel")).find(existsSync);
  if (modules === undefined) throw new Error(`the package of the kernel ${version} holds no modules`);
  return { version, image: join(boot, image), modules };
}
