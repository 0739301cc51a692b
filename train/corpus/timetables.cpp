// Timetables: a line, its stops, departures at a regular interval, and remarks that follow from the table.
#include <fmt/format.h>

#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

constexpr std::string_view stops[] = {"Airport",  "Harbour", "Market",     "Museum",    "Old Mill",  "Park",
                                      "School",   "Stadium", "Theatre",    "Town Hall", "Zoo",       "Castle",
                                      "Hospital", "Library", "North Gate", "Lake",      "Cathedral", "Factory",
                                      "Beach",    "Square",  "Bridge",     "Garden",    "Central",   "Tower"};
constexpr std::string_view colours[] = {"Green", "Red", "Blue", "Yellow", "Orange", "Silver", "Brown", "Purple"};
constexpr std::string_view vehicles[] = {"train", "tram", "bus", "ferry"};
constexpr std::string_view vehicles_plural[] = {"trains", "trams", "buses", "ferries"};
constexpr std::string_view days[] = {"Monday to Friday", "Saturday and Sunday", "Every day",
                                     "Sunday only",      "School days",         "Summer"};

std::string clock(int minutes) { return fmt::format("{:02}:{:02}", minutes / 60 % 24, minutes % 60); }

}  // namespace

std::string Timetable::at(int stop, int run) const { return clock(start + run * interval + offset[stop]); }

Timetable write_table(Writer& writer, int interval, TableLimits most) {
  Timetable table;
  table.interval = interval;
  std::array<uint32_t, std::size(stops)> free;
  free.fill(1);
  for (int row = 0; row < most.stops; ++row) {
    if (row >= 3 && writer.choose(2) == 0) break;  // no further stop: the remarks begin
    const int stop = writer.choose(free, [](int i) { return std::string(stops[i]); });
    free[stop] = 0;
    writer.raw(stops[stop]);
    writer.raw(" ");
    table.stops.push_back(stops[stop]);
    if (row == 0) {
      table.start = 5 * writer.choose(12 * 15, [](int i) { return clock(5 * 60 + 5 * i); }) + 5 * 60;
      table.offset.push_back(0);
      writer.raw(table.at(0, 0));
      for (table.runs = 1; table.runs < most.runs; ++table.runs) {
        if (table.runs >= 4 && writer.choose(2) == 0) break;
        writer.raw(" " + table.at(0, table.runs));
      }
    } else {  // 5, 10 or 15 minutes behind the stop above
      const auto later = [&](int i) { return table.offset.back() + 5 * (i + 1); };
      const int ride = writer.choose(3, [&](int i) { return clock(table.start + later(i)); });
      table.offset.push_back(later(ride));
      for (int run = 0; run < table.runs; ++run) writer.raw((run ? " " : "") + table.at(row, run));
    }
    writer.raw("\n");
  }
  return table;
}

namespace {

void remark(Writer& writer, const Timetable& table, int kind) {
  const int last = static_cast<int>(table.stops.size()) - 1;
  if (kind == 0) {
    writer.set("length", std::to_string(table.offset[last]));
    writer.one_of({"The [whole ride|journey] takes {length} minutes.", "From {from} to {to} it takes {length} minutes.",
                   "You are at {to} in {length} minutes."});
  } else if (kind == 1) {
    writer.set("time", table.at(0, table.runs - 1));
    writer.one_of({"The last {vehicle} leaves {from} at {time}.", "Last {vehicle} from {from}: {time}."});
  } else if (kind == 2) {
    writer.set("time", table.at(last, 0));
    writer.one_of({"The first {vehicle} reaches {to} at {time}.", "The first arrival at {to} is at {time}."});
  } else if (kind == 3) {
    writer.vary(
        "here", last + 1, [&](int i) { return std::string(table.stops[i]); },
        [&](int stop) {
          writer.vary(
              "now", table.runs, [&table, stop](int run) { return table.at(stop, run); },
              [&writer, &table, stop](int run) {
                writer.set("next", run + 1 < table.runs ? "the next one comes at " + table.at(stop, run + 1)
                                                        : "no other follows");
              });
        });
    writer.write("If you miss the {vehicle} at {here} at {now}, {next}.");
  } else if (kind == 4) {
    writer.vary_number("price", 2, 9);
    writer.one_of({"A ticket costs {price} coins[|, children ride free|, half for children].",
                   "The fare is {price} coins.", "Dogs and bicycles ride [free|for {price} coins]."});
  } else if (kind == 5) {
    writer.set("runs", std::to_string(table.runs));
    writer.set("stops", std::to_string(last + 1));
    writer.one_of({"There are {runs} {vehicles} and {stops} stops.", "In all {runs} {vehicles} run."});
  } else {
    writer.vary("change", last + 1, [&](int i) { return std::string(table.stops[i]); });
    writer.vary("other colour", colours, {}, {"colour"});
    writer.one_of(
        {"Change at {change} for the {other colour} Line.", "At {change} you can change to the {other colour} Line."});
  }
}

}  // namespace

void write_timetable(Writer& writer, const World&) {
  writer.vary("colour", colours);
  writer.vary("vehicle", vehicles, [&](int i) { writer.set("vehicles", std::string(vehicles_plural[i])); });
  writer.vary("days", days);
  static constexpr int intervals[] = {10, 20, 30, 60};
  int interval = 0;
  writer.vary(
      "interval", 4, [](int i) { return std::to_string(intervals[i]); }, [&](int i) { interval = intervals[i]; });
  writer.one_of({"{Colour} Line ({vehicle})\n{days}, every {interval} minutes\n",
                 "Timetable of the {colour} Line, {vehicle}\n{days}: one every {interval} minutes\n",
                 "{Vehicle}, {colour} Line. {days}.\nEvery {interval} minutes:\n"});
  const Timetable table = write_table(writer, interval);
  writer.set("from", std::string(table.stops.front()));
  writer.set("to", std::string(table.stops.back()));
  constexpr int end = 7;
  std::array<uint32_t, end + 1> weights;  // the remarks not made yet, and the end
  weights.fill(1);
  for (int made = 0; made < 4; ++made) {
    weights[end] = made >= 2;
    const int kind = writer.choose(weights);
    if (kind == end) break;
    weights[kind] = 0;
    remark(writer, table, kind);
    writer.raw("\n");
  }
}

}  // namespace switchyard::corpus
