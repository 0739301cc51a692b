// The file of ./run sweep: what is trained, written as JSON.
#pragma once
#include "train/sweep.h"

namespace switchyard {

// What a file describes. Its keys:
//   "settings"  what all runs share, an object. A key is a flag of ./run train without its dashes: any field of the
//               model and of training, "preset", "data" (a list of files) and "dense-twin"
//   "grid"      an object of lists, {"rate": [0.001, 0.003], "experts": [4, 8]}: all combinations, the last key fastest
//   "list"      or instead a list of objects, each one variant's settings; "label" is its name in the table
//   "seeds"     3: seeds 1, 2 and 3, the default; or a list of them
//   "columns"   of the table, as table_columns() names them
// Comments as in C++ are allowed.
struct SweepFile {
  std::vector<Variant> variants;
  std::vector<std::string> varied;            // the keys in which variants differ, in the order written
  std::vector<std::vector<std::string>> how;  // of each variant its value of each of those, "" where it has none
  std::vector<uint64_t> seeds{1, 2, 3};
  std::vector<Column> columns;  // empty: the usual ones
};

// Reads it and makes every configuration. Error that names the file, the entry and what would be right: no JSON; a key
// that does not exist; a value that its flag would refuse; fields of a combination that contradict each other; a text
// that is missing; two variants of one name.
SweepFile read_sweep(const std::filesystem::path& file);

// Every column that a table may have, by its name in the file (Column::title is what stands above it), and those that
// it has when the file names none and a run has the number.
struct NamedColumn {
  std::string_view name;
  Column column;
  bool usual;
};
std::span<const NamedColumn> table_columns();

// A file to begin with, for --help.
std::string_view sweep_example();

}  // namespace switchyard
