#include "runtime/io/head_times.h"

#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace shoal::io {
namespace {

double Microseconds(uint64_t ns) { return static_cast<double>(ns) / 1000; }

void AddTimes(const std::string& of, const Histogram& times, Json* row) {
  row->Set(absl::StrCat(of, "s"), times.count());
  row->Set(absl::StrCat(of, "_p50_us"), Microseconds(times.Quantile(0.5)));
  row->Set(absl::StrCat(of, "_p99_us"), Microseconds(times.Quantile(0.99)));
  row->Set(absl::StrCat(of, "_max_us"), Microseconds(times.max()));
}

}  // namespace

void HeadTimes::Add(Duration took, const std::vector<Send>& sends, size_t before) {
  const auto ns = static_cast<uint64_t>(took.count());
  turns_.Add(ns);
  uint64_t granted = 0;
  for (size_t i = before; i < sends.size(); ++i) {
    if (const auto* grant = std::get_if<GrantLeases>(&sends[i].message)) granted += grant->count;
  }
  if (granted > 0) decisions_.Add(ns / granted, granted);
}

Json HeadTimes::Describe() const {
  Json row = Json::Object();
  AddTimes("decision", decisions_, &row);
  AddTimes("turn", turns_, &row);
  row.Set("busy_s", static_cast<double>(turns_.sum()) / 1e9);
  return row;
}

}  // namespace shoal::io
