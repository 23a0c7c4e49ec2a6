#include "cli/completion.h"

namespace weir::cli {
namespace {

// bash cuts words at '=', ':' and '@' (COMP_WORDBREAKS); weir does not. So the words are put together again, and what
// is offered begins where bash's own last word begins.
constexpr std::string_view kBash = R"(# bash completion for weir, printed by `weir completion bash`.
_weir() {
  local line=${COMP_LINE:0:COMP_POINT} piece place word i
  local -a words=() own=()
  COMPREPLY=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    piece=${COMP_WORDS[i]}
    # Quotes and what else the shell would take away stays: weir completes plain words.
    if ((i > 0)) && [[ $line != [[:space:]]* && -n $line ]]; then
      words[${#words[@]} - 1]+=$piece
    else
      words+=("$piece")
      own+=("$i")
    fi
    line=${line#"${line%%[![:space:]]*}"}
    line=${line#"$piece"}
  done
  local current=${words[${#words[@]} - 1]} bash_word=${COMP_WORDS[COMP_CWORD]}
  local -a answer
  # The installed weir: a program of that name in the current folder may be anybody's.
  [[ ${words[0]} == weir ]] || return
  mapfile -t answer < <(command weir completion bash -- "${words[@]:1}" 2>/dev/null)
  case ${answer[0]-} in
    command\ *)
      place=$((${answer[0]#command } + 1))
      _weir_inner "${own[place]}"
      return
      ;;
    files\ *)
      piece=${answer[0]#files }
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "${current#"$piece"}")
      ;;
  esac
  local cut=${current%"$bash_word"}
  [[ $bash_word == [=:@] ]] && cut=$current
  cut=${cut%@} # readline keeps this one
  for word in "${answer[@]:1}"; do
    word=${word%%$'\t'*}
    COMPREPLY+=("${word#"$cut"}")
  done
}

# The command that runs inside, as if it stood alone: it begins with word number $1.
_weir_inner() {
  if declare -F _command_offset >/dev/null; then
    _command_offset "$1"
  elif ((COMP_CWORD == $1)); then
    mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
  else
    compopt -o default 2>/dev/null
  fi
}

complete -F _weir weir
)";

constexpr std::string_view kZsh = R"(#compdef weir
# zsh completion for weir, printed by `weir completion zsh`.
_weir() {
  local -a answer candidates
  local line prefix
  # The installed weir: a program of that name in the current folder may be anybody's.
  [[ ${words[1]} == weir ]] || return 1
  answer=("${(@f)$(command weir completion zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ $answer[1] == command\ * ]]; then
    local skip=$(( ${answer[1]#command } + 1 ))
    words=("${(@)words[skip+1,-1]}")
    (( CURRENT -= skip ))
    _normal
    return
  fi
  for line in "${(@)answer[2,-1]}"; do
    candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  local found=1
  (( $#candidates )) && _describe -V 'weir' candidates && found=0
  if [[ $answer[1] == files\ * ]]; then
    prefix=${answer[1]#files }
    [[ -n $prefix ]] && compset -P "${(b)prefix}"
    _files && found=0
  fi
  return found
}

if [[ $funcstack[1] == _weir ]]; then
  _weir "$@"
else
  compdef _weir weir
fi
)";

constexpr std::string_view kFish = R"(# fish completion for weir, printed by `weir completion fish`.
function __weir_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    # The installed weir: a program of that name in the current folder may be anybody's.
    test "$words[1]" = weir; or return
    set -l answer (command weir completion fish -- $words[2..-1] "$current" 2>/dev/null)
    set -l where (string split -m 1 ' ' -- $answer[1])
    switch $where[1]
        case command
            # The command that runs inside, as if it stood alone.
            set -l inner
            for word in $words[(math $where[2] + 2)..-1]
                set -a inner (string escape -- $word)
            end
            complete -C (string join ' ' -- $inner "$current")
        case files
            for file in (__fish_complete_path (string replace -- "$where[2]" '' "$current"))
                printf '%s\n' $where[2]$file
            end
    end
    for line in $answer[2..-1]
        printf '%s\n' $line
    end
end
complete -c weir -f -a '(__weir_complete)'
)";

}  // namespace

Result<Shell> parse_shell(std::string_view name) {
  if (name == "bash") return Shell::bash;
  if (name == "zsh") return Shell::zsh;
  if (name == "fish") return Shell::fish;
  return std::unexpected(Error("weir completion: '" + std::string(name) + "' is no shell that weir knows")
                             .with_remedy("write bash, zsh or fish"));
}

std::string_view completion_script(Shell shell) {
  switch (shell) {
    case Shell::bash:
      return kBash;
    case Shell::zsh:
      return kZsh;
    case Shell::fish:
      return kFish;
  }
  return "";
}

}  // namespace weir::cli
