// Rows of JSON as a table for people: columns in the order in which they first appear, as wide as they need to be.
#pragma once

#include <string>
#include <vector>

#include "runtime/io/json.h"

namespace shoal::bin {

// Columns that are empty in every row are left out. `only`: these columns and no others, where given.
std::string FormatTable(const io::Json& rows, const std::vector<std::string>& only = {});
// "3", "0.5", "yes", "CPU 2, GPU 1": one value in a cell.
std::string FormatCell(const io::Json& value);
// "512 B", "1.5 GiB".
std::string FormatBytes(double bytes);

}  // namespace shoal::bin
