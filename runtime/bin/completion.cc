// Completion scripts, made from the table of commands.
#include "absl/strings/str_cat.h"
#include "runtime/bin/commands.h"

namespace shoal::bin {
namespace {

std::string FirstWord(const std::string& name) { return name.substr(0, name.find(' ')); }

std::string OptionWords(const Command& command) {
  std::string words = "--help";
  for (const OptionSpec& option : command.options) {
    if (!option.hidden) absl::StrAppend(&words, " --", option.name);
  }
  return words;
}

std::string Bash(const std::vector<Command>& commands) {
  std::string names, cases;
  for (const Command& command : commands) {
    if (command.hidden) continue;
    absl::StrAppend(&names, names.empty() ? "" : " ", FirstWord(command.name));
    const std::string more = command.name == "list" ? " nodes actors tasks objects workers jobs leases placement-groups demands events"
                             : command.name == "completion"    ? " bash zsh"
                             : command.name == "token create" ? " create"
                                                               : "";
    absl::StrAppend(&cases, "    ", FirstWord(command.name), ") words=\"", OptionWords(command), more, "\" ;;\n");
  }
  return absl::StrCat("_shoal() {\n  local words\n  if [ \"$COMP_CWORD\" = 1 ]; then words=\"", names,
                      " --help --version\"\n  else case \"${COMP_WORDS[1]}\" in\n", cases,
                      "  esac; fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n",
                      "complete -o default -F _shoal shoal\n");
}

}  // namespace

std::string CompletionScript(const std::string& shell, const std::vector<Command>& commands) {
  if (shell == "bash") return Bash(commands);
  // zsh runs bash's.
  if (shell == "zsh") return absl::StrCat("autoload -U +X bashcompinit && bashcompinit\n", Bash(commands));
  return "";
}

}  // namespace shoal::bin
