// One function for each domain: it writes one document. Their files hold the words and the grammar, nothing else.
#pragma once
#include "train/corpus/world.h"
#include "train/corpus/writer.h"

namespace switchyard::corpus {

void write_story(Writer& writer, const World& world);
void write_biography(Writer& writer, const World& world);
void write_arithmetic(Writer& writer, const World& world);
void write_program(Writer& writer, const World& world);
void write_recipe(Writer& writer, const World& world);
void write_timetable(Writer& writer, const World& world);
void write_game(Writer& writer, const World& world);
void write_letter(Writer& writer, const World& world);

// The table of a timetable: departures at a regular interval, stop after stop.
struct Timetable {
  std::vector<std::string_view> stops;
  std::vector<int> offset;  // minutes from the first stop
  int start = 0, interval = 0, runs = 0;
  std::string at(int stop, int run) const;  // "07:35"
};
// At least three stops and four runs.
struct TableLimits {
  int stops = 5, runs = 6;
};
// A line for each stop, "Park 07:10 07:30 07:50 08:10".
Timetable write_table(Writer& writer, int interval, TableLimits most = {});

}  // namespace switchyard::corpus
