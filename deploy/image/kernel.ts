import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

/** Debian's own kernel for virtual machines, as it is signed by Debian's archive. */
export function unpackKernel(folder: string): void {
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

/** Where a kernel's unpacked Debian package has its image and its drivers. */
export function kernelIn(folder: string): { version: string; image: string; modules: string } {
  const image = readdirSync(join(folder, "boot")).find((name) => name.startsWith("vmlinuz-"));
  if (image === undefined) throw new Error(`there is no kernel in ${folder}/boot`);
  const version = image.slice("vmlinuz-".length);
  return {
    version,
    image: join(folder, "boot", image),
    modules: join(folder, "lib", "modules", version, "kernel"),
  };
}
