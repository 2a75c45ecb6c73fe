"""`hostler completion`: the few lines by which a shell learns to complete hostler's words."""

from __future__ import annotations

import click

from hostler.cli.parsing import Verb

BASH = """\
_hostler_complete() {
    local line first=1
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $first == 1 ]]; then
            first=0
            [[ $line == files ]] && compopt -o default 2>/dev/null
        else
            COMPREPLY+=("$line")
        fi
    done < <(_HOSTLER_COMPLETE=bash "$1" "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
}
complete -F _hostler_complete hostler
"""

ZSH = """\
#compdef hostler
_hostler() {
    local -a lines found
    local line
    lines=("${(@f)$(_HOSTLER_COMPLETE=zsh "${words[1]}" "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done
    (( $#found )) && _describe -V hostler found
    [[ ${lines[1]} == files ]] && _files
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _hostler "$@"
else
    compdef _hostler hostler
fi
"""

FISH = """\
function __hostler_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (env _HOSTLER_COMPLETE=fish $before "$current" 2>/dev/null)
    test "$lines[1]" = files; and __fish_complete_path "$current"
    set -e lines[1]
    string join -- \\n $lines
end
complete -c hostler -f -k -a '(__hostler_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

EXAMPLES = """\b
Examples:
  hostler completion bash > ~/.local/share/bash-completion/completions/hostler
  hostler completion zsh > ~/.zfunc/_hostler
  hostler completion fish > ~/.config/fish/completions/hostler.fish
"""


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def command(shell: str) -> None:
    """Print what makes a shell complete verbs, flags, hosts, @tags, runs and jobs.

    The folders of the examples are read by the shells themselves; in zsh ~/.zfunc must be in $fpath before compinit.
    To try it at once: eval "$(hostler completion bash)".
    """
    click.echo(SCRIPTS[shell], nl=False)
