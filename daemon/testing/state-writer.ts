/**
 * Run as a process of its own: counts up in the state of a folder, as fast as it can. `state-writer.ts FOLDER TIMES`; without end
 * where TIMES is not given. Says "writing" once it has begun.
 */
import { problemOf } from "../problem.ts";
import { openState } from "../state/index.ts";
import { sampleEnrolment } from "./enrolment.ts";

// Under a limit on the size of files, writing more then fails instead of ending the process.
process.on("SIGXFSZ", () => undefined);

const [folder = "", times = "Infinity"] = process.argv.slice(2);
const state = openState(folder);
try {
  for (let i = 0; i < Number(times); i++) {
    await state.update((kept) => {
      const { session, ...rest } = kept ?? sampleEnrolment();
      return Promise.resolve({ ...rest, session: { ...session, renewableUntil: (session.renewableUntil ?? 0) + 1 } });
    });
    if (i === 0) process.stdout.write("writing\n");
  }
} catch (error) {
  const { reason, text } = problemOf(error);
  process.stdout.write(`${reason}: ${text}\n`);
}
