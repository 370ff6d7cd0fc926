/**
 * Scripts by which shells complete commands, options and their choices, made from the table of commands, so that they
 * cannot part. zsh reads bash's through its own bashcompinit.
 */
import type { CommandSpec } from './spec.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** First words, and the second ones of groups. */
function words(commands: readonly CommandSpec[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { name } of commands) {
    const [first = '', second] = name.split(' ');
    found.set(first, [...(found.get(first) ?? []), ...(second === undefined ? [] : [second])]);
  }
  return found;
}

const flagsOf = ({ options }: CommandSpec): string[] =>
  [...options.map(({ long }) => long ?? ''), '--help'].filter(Boolean);

const choicesOf = ({ arguments: args = [] }: CommandSpec): string[] =>
  args.flatMap(({ argChoices = [] }) => argChoices);

function bash(commands: readonly CommandSpec[]): string {
  const groups = [...words(commands)].filter(([, second]) => second.length > 0);
  const of = (command: CommandSpec): string[] => {
    const values = command.options.flatMap(({ long, argChoices = [] }) =>
      argChoices.length === 0 ? [] : [`        ${long}) words="${argChoices.join(' ')}" ;;`],
    );
    return [
      `    "${command.name}")`,
      `      words="${[...flagsOf(command), ...choicesOf(command)].join(' ')}"`,
      ...(values.length === 0 ? [] : ['      case "$before" in', ...values, '      esac']),
      '      ;;',
    ];
  };
  return [
    '# bash completion of gqa: gqa completion bash > /etc/bash_completion.d/gqa',
    '_gqa() {',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash's
    '  local current="$2" before="$3" name="${COMP_WORDS[1]}" second="${COMP_WORDS[2]}" words=""',
    `  if [ "$COMP_CWORD" -eq 1 ]; then`,
    `    COMPREPLY=($(compgen -W "${[...words(commands).keys()].join(' ')} help" -- "$current"))`,
    '    return',
    '  fi',
    '  case "$name" in',
    ...groups.map(([group]) => `    ${group}) [ "$COMP_CWORD" -gt 2 ] && name="$name $second" ;;`),
    '  esac',
    '  case "$name" in',
    ...groups.map(([group, second]) => `    ${group}) words="${second.join(' ')}" ;;`),
    ...commands.flatMap(of),
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    '}',
    'complete -o default -F _gqa gqa',
    '',
  ].join('\n');
}

const quoted = (text: string): string => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`;

function fish(commands: readonly CommandSpec[]): string {
  const first = words(commands);
  const seen = (...names: string[]): string =>
    names.map((name) => `__fish_seen_subcommand_from ${name}`).join('; and ');
  const summaries = new Map(commands.map(({ name, summary }) => [name, summary]));
  return [
    '# fish completion of gqa: gqa completion fish > ~/.config/fish/completions/gqa.fish',
    ...[...first.keys()].map(
      (name) => `complete -c gqa -n __fish_use_subcommand -a ${name} -d ${quoted(summaries.get(name) ?? '')}`,
    ),
    ...[...first].flatMap(([group, second]) =>
      second.map(
        (name) =>
          `complete -c gqa -n ${quoted(`${seen(group)}; and not __fish_seen_subcommand_from ${second.join(' ')}`)} -f -a ${name} -d ${quoted(summaries.get(`${group} ${name}`) ?? '')}`,
      ),
    ),
    ...commands.flatMap((command) => [
      ...command.options.map(({ long = '', description, required, argChoices = [] }) => {
        const value = argChoices.length > 0 ? ` -x -a ${quoted(argChoices.join(' '))}` : required ? ' -r' : '';
        return `complete -c gqa -n ${quoted(seen(...command.name.split(' ')))} -l ${long?.slice(2)}${value} -d ${quoted(description)}`;
      }),
      ...(choicesOf(command).length === 0
        ? []
        : [
            `complete -c gqa -n ${quoted(seen(...command.name.split(' ')))} -f -a ${quoted(choicesOf(command).join(' '))}`,
          ]),
    ]),
    '',
  ].join('\n');
}

const zsh = (commands: readonly CommandSpec[]): string =>
  [
    '# zsh completion of gqa: in ~/.zshrc, source <(gqa completion zsh)',
    'autoload -U +X compinit && compinit -u',
    'autoload -U +X bashcompinit && bashcompinit',
    bash(commands),
  ].join('\n');

const SCRIPTS: Record<Shell, (commands: readonly CommandSpec[]) => string> = { bash, zsh, fish };

export const completion = (shell: Shell, commands: readonly CommandSpec[]): string => SCRIPTS[shell](commands);
