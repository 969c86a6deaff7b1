#include "runtime/bin/options.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace shoal::bin {
namespace {

constexpr size_t kHelpColumn = 30;

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(text.size() + 1, width), ' ');
  return text;
}

const OptionSpec* FindOption(const Command& command, const std::string& name) {
  for (const OptionSpec& option : command.options) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::vector<std::string> VisibleNames(const Command& command) {
  std::vector<std::string> names;
  for (const OptionSpec& option : command.options) {
    if (!option.hidden) names.push_back(option.name);
  }
  return names;
}

absl::Status Unknown(const Command& command, const std::string& name) {
  const std::string near = Nearest(name, VisibleNames(command));
  return absl::InvalidArgumentError(absl::StrCat("`shoal ", command.name, "` has no option --", name,
                                                 near.empty() ? "" : absl::StrCat("; did you mean --", near, "?"), "; see `shoal ",
                                                 command.name, " --help`"));
}

// Levenshtein distance.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

std::string Options::Get(const std::string& name, const std::string& otherwise) const {
  const auto it = values_.find(name);
  return it == values_.end() ? otherwise : it->second.back();
}

const std::vector<std::string>& Options::All(const std::string& name) const {
  static const std::vector<std::string> kNone;
  const auto it = values_.find(name);
  return it == values_.end() ? kNone : it->second;
}

absl::StatusOr<double> Options::Number(const std::string& name, double otherwise, double least, double most) const {
  if (!Has(name)) return otherwise;
  double number = 0;
  if (!absl::SimpleAtod(Get(name), &number) || !std::isfinite(number) || number < least || number > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " wants a number from ", least, " to ", most, ", not '", Get(name), "'"));
  }
  return number;
}

absl::StatusOr<uint64_t> Options::Bytes(const std::string& name, uint64_t otherwise) const {
  if (!Has(name)) return otherwise;
  std::string text = Get(name);
  static const std::vector<std::pair<std::string, double>> kUnits = {
      {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}, {"kB", 1e3}, {"KB", 1e3},
      {"MB", 1e6},     {"GB", 1e9},        {"TB", 1e12},          {"B", 1}};
  double unit = 1, number = 0;
  for (const auto& [suffix, factor] : kUnits) {
    if (text.size() > suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0) {
      text.resize(text.size() - suffix.size());
      unit = factor;
      break;
    }
  }
  if (!absl::SimpleAtod(text, &number) || !(number >= 0) || number * unit > 1e15) {
    return absl::InvalidArgumentError(absl::StrCat("--", name, " wants bytes such as 500MB or 2GiB, not '", Get(name), "'"));
  }
  return static_cast<uint64_t>(number * unit);
}

absl::StatusOr<Options> ParseOptions(const Command& command, const std::vector<std::string>& words) {
  Options options;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      options.positional_.insert(options.positional_.end(), words.begin() + static_cast<ptrdiff_t>(i) + 1, words.end());
      break;
    }
    if (word.rfind("--", 0) != 0) {
      if (command.positional.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("`shoal ", command.name, "` takes no argument, but '", word, "' was given; see `shoal ", command.name, " --help`"));
      }
      if (command.positional == "-- CMD...") {
        options.positional_.assign(words.begin() + static_cast<ptrdiff_t>(i), words.end());
        break;
      }
      options.positional_.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    const OptionSpec* const option = FindOption(command, name);
    if (option == nullptr) return Unknown(command, name);
    std::vector<std::string>& values = options.values_[name];
    if (!values.empty() && !option->repeats) return absl::InvalidArgumentError(absl::StrCat("--", name, " is given twice"));
    if (option->value.empty()) {
      if (equals != std::string::npos) return absl::InvalidArgumentError(absl::StrCat("--", name, " takes no value"));
      values.emplace_back("1");
    } else if (equals != std::string::npos) {
      values.push_back(word.substr(equals + 1));
    } else if (i + 1 < words.size()) {
      values.push_back(words[++i]);
    } else {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " wants a value: --", name, " ", option->value));
    }
  }
  return options;
}

absl::StatusOr<std::map<std::string, std::string>> ParsePairs(const std::string& option, const std::vector<std::string>& texts) {
  std::map<std::string, std::string> pairs;
  for (const std::string& text : texts) {
    for (const absl::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
      const std::pair<std::string, std::string> parts = absl::StrSplit(pair, absl::MaxSplits('=', 1));
      if (parts.first.empty() || pair.find('=') == absl::string_view::npos) {
        return absl::InvalidArgumentError(absl::StrCat("--", option, " wants KEY=VALUE, not '", pair, "'"));
      }
      pairs[parts.first] = parts.second;
    }
  }
  return pairs;
}

std::string HelpOf(const Command& command) {
  std::string text = absl::StrCat("shoal ", command.name, ": ", command.summary, "\n\nusage: shoal ", command.name, " [options]",
                                  command.positional.empty() ? "" : " ", command.positional, "\n\n");
  for (const OptionSpec& option : command.options) {
    if (option.hidden) continue;
    const std::string name = absl::StrCat("  --", option.name, option.value.empty() ? "" : " ", option.value);
    absl::StrAppend(&text, Padded(name, kHelpColumn), option.help, "\n");
  }
  if (!command.examples.empty()) absl::StrAppend(&text, "\nexamples:\n");
  for (const std::string& example : command.examples) absl::StrAppend(&text, "  ", example, "\n");
  return text;
}

std::string HelpOfAll(const std::vector<Command>& commands) {
  std::string text = "shoal: a distributed task runtime\n\nusage: shoal COMMAND [options]\n\n";
  for (const Command& command : commands) {
    if (!command.hidden) absl::StrAppend(&text, Padded("  " + command.name, kHelpColumn), command.summary, "\n");
  }
  absl::StrAppend(&text, "\n`shoal COMMAND --help` describes one, with examples.\n\n"
                         "a cluster of two machines:\n"
                         "  one$ shoal start --head --listen 10.0.0.1\n"
                         "  one$ shoal token create\n"
                         "  two$ shoal start --address 10.0.0.1:6380 --token TOKEN\n"
                         "  one$ shoal status\n"
                         "  one$ shoal submit -- python3 train.py\n"
                         "  two$ shoal stop\n\n"
                         "exit codes: 0 done, 1 failed, 2 wrong usage, 3 no runtime runs here, 4 refused\n");
  return text;
}

std::string Nearest(const std::string& word, const std::vector<std::string>& names) {
  std::string best;
  size_t best_distance = word.size() / 3 + 2;
  for (const std::string& name : names) {
    const size_t distance = Distance(word, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

}  // namespace shoal::bin
