/** Milliseconds of the processor's time that this process has taken: unlike the clock, no neighbour on the machine adds to it. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
