#include "runtime/bin/table.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace shoal::bin {
namespace {

constexpr size_t kMaxCell = 60;

// Terminals count code points, roughly.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string Shortened(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() <= kMaxCell) return text;
  size_t cut = kMaxCell - 3;
  while (cut > 0 && (text[cut] & 0xc0) == 0x80) --cut;
  return text.substr(0, cut) + "...";
}

}  // namespace

std::string FormatBytes(double bytes) {
  static const char* const kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), bytes == static_cast<double>(static_cast<int64_t>(bytes)) ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
  return text;
}

std::string FormatCell(const io::Json& value) {
  switch (value.kind()) {
    case io::Json::Kind::kNull:
      return "";
    case io::Json::Kind::kBool:
      return value.boolean() ? "yes" : "no";
    case io::Json::Kind::kString:
      return value.text();
    case io::Json::Kind::kNumber:
      return value.ToString();
    case io::Json::Kind::kArray: {
      std::string text;
      for (const io::Json& item : value.items()) absl::StrAppend(&text, text.empty() ? "" : ", ", FormatCell(item));
      return text;
    }
    case io::Json::Kind::kObject: {
      std::string text;
      for (const auto& [name, member] : value.members()) {
        const bool bytes = name == "memory" && member.kind() == io::Json::Kind::kNumber;
        absl::StrAppend(&text, text.empty() ? "" : ", ", name, " ", bytes ? FormatBytes(member.number()) : FormatCell(member));
      }
      return text;
    }
  }
  return "";
}

std::string FormatTable(const io::Json& rows, const std::vector<std::string>& only) {
  std::vector<std::string> columns = only;
  if (columns.empty()) {
    for (const io::Json& row : rows.items()) {
      for (const auto& [name, value] : row.members()) {
        if (!FormatCell(value).empty() && std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
      }
    }
  }
  std::vector<std::vector<std::string>> lines = {columns};
  for (const io::Json& row : rows.items()) {
    std::vector<std::string>& line = lines.emplace_back();
    for (const std::string& column : columns) {
      const io::Json* value = row.Find(column);
      line.push_back(value == nullptr ? "" : Shortened(FormatCell(*value)));
    }
  }
  std::vector<size_t> widths(columns.size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], Width(line[i]));
  }
  std::string text;
  for (const auto& line : lines) {
    std::string out;
    for (size_t i = 0; i < line.size(); ++i) {
      absl::StrAppend(&out, line[i], std::string(widths[i] - Width(line[i]) + 2, ' '));
    }
    out.resize(out.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, out, "\n");
  }
  return text;
}

}  // namespace shoal::bin
