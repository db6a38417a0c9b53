import type { Command } from "commander";

import type { Io } from "../io.ts";
import { Problem } from "../problem.ts";

interface Entry {
  name: string;
  description: string;
  /** Of a command that only groups others. */
  subcommands: string[];
  /** Its own, and those of all its subcommands. */
  options: string[];
}

/** `agentkeys completions SHELL`: a script that makes a shell complete commands and options; made from the command tree itself. */
export function completions({ stdout }: Pick<Io, "stdout">, program: Command, shell: string): void {
  const script = scripts.get(shell);
  if (script === undefined) {
    throw new Problem("USAGE", "usage", "Completions are there for bash, zsh and fish.", {
      remedy: "For example: `source <(agentkeys completions bash)`.",
    });
  }
  const entries = program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    subcommands: command.commands.map((each) => each.name()),
    options: [...new Set([command, ...command.commands].flatMap(longOptions)), "--help"],
  }));
  stdout.write(script(entries));
}

function longOptions({ options }: Command): string[] {
  return options.flatMap(({ long }) => (long == null ? [] : [long]));
}

const scripts = new Map<string, (entries: readonly Entry[]) => string>([
  ["bash", bash],
  ["zsh", zsh],
  ["fish", fish],
]);

function bash(entries: readonly Entry[]): string {
  const cases = entries
    .map(({ name, subcommands, options }) => `    ${name}) words="${[...subcommands, ...options].join(" ")}" ;;`)
    .join("\n");
  return `# agentkeys completions for bash: source <(agentkeys completions bash)
_agentkeys() {
  local words="${entries.map(({ name }) => name).join(" ")} --help --version"
  [ "$COMP_CWORD" -gt 1 ] && case "\${COMP_WORDS[1]}" in
${cases}
    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _agentkeys agentkeys
`;
}

function zsh(entries: readonly Entry[]): string {
  const commands = entries
    .map(({ name, description }) => `    ${quoted(`${name}:${description.replaceAll(":", " -")}`, "'\\''")}`)
    .join("\n");
  const cases = entries
    .map(({ name, subcommands, options }) => `    ${name}) options=(${[...subcommands, ...options].join(" ")}) ;;`)
    .join("\n");
  return `#compdef agentkeys
# agentkeys completions for zsh: source <(agentkeys completions zsh)
_agentkeys() {
  local -a commands=(
${commands}
  )
  local -a options
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case $words[2] in
${cases}
  esac
  if [[ $PREFIX == -* ]]; then compadd -a options; else _default; fi
}
# As a file of $fpath it is what runs when something is completed for the first time; sourced, it only has to be made known.
if [[ $funcstack[1] == _agentkeys ]]; then
  _agentkeys "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
  compdef _agentkeys agentkeys
fi
`;
}

function fish(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ name, description, subcommands, options }) => [
    `complete -c agentkeys -f -n __fish_use_subcommand -a ${name} -d ${quoted(description, "\\'")}`,
    ...subcommands.map((each) => `complete -c agentkeys -f -n '__fish_seen_subcommand_from ${name}' -a ${each}`),
    ...options.map((option) => `complete -c agentkeys -n '__fish_seen_subcommand_from ${name}' -l ${option.slice(2)}`),
  ]);
  return `# agentkeys completions for fish: agentkeys completions fish | source\n${lines.join("\n")}\n`;
}

/** Between single quotes, in which a shell writes a quote as `escaped`. */
function quoted(text: string, escaped: string): string {
  return `'${text.replaceAll("'", escaped)}'`;
}
