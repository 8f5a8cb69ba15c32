/** Scripts that ask `monta` itself what could stand at the cursor. */
import type { MontaContext } from '../context.js';
import { askWord } from './ask-word.js';
import type { CompletionFlags, Shell } from './completion.flags.js';

const scripts: Readonly<Record<Shell, string>> = {
  bash: `_monta() {
  local IFS=$'\\n'
  COMPREPLY=($(monta ${askWord} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _monta monta`,
  zsh: `_monta() {
  local -a found
  found=("\${(@f)$(monta ${askWord} "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if (( \${#found[1]} )); then compadd -a found; else _files; fi
}
compdef _monta monta`,
  fish: `complete -c monta -a '(monta ${askWord} (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'`,
};

/** Runs the command. */
export function runCompletion({ console }: MontaContext, _flags: CompletionFlags, shell: Shell): void {
  console.write(`${scripts[shell]}\n`);
}
