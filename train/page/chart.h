// Charts as SVG for a page: each has a title, axes with units, and a text for those who do not see it. Colours are
// classes, which train/page/style.cpp defines for light and dark; the values stand in data attributes, for the page's
// script to read out where the mouse is.
#pragma once
#include <string>
#include <vector>

#include "train/page/curve.h"

namespace switchyard::page {

struct Series {
  std::string name;
  int style = 0;  // colour and dash; the same for a run in all charts
  Curve curve;
  bool dots = false;  // single measurements rather than means of parts
};

// A level line: a floor, a limit.
struct Reference {
  double y = unknown;
  std::string label;
  int style = -1;  // of the run that it belongs to; -1: of all
};

struct LineChart {
  std::string title, x_title, y_title;  // titles of axes with their units
  std::vector<Series> series;
  std::vector<Reference> references = {};
  bool log_y = false;     // values that are not above 0 stay out
  bool from_zero = true;  // the y axis, where it is not logarithmic
  double reach = 0;       // the y axis goes at least so far: charts side by side share it
  double width = 480, height = 280;
};
// "" where no series has a value.
std::string draw(const LineChart& chart);

// How far a cell is from its fair part, 0 to 7: nothing at all, less than a quarter, a half, 0.8 of it, about even,
// more than 1.25 times, twice, four times.
constexpr int fair_levels = 8;
int fair_level(double times);
const char* fair_label(int level);

// Rows over time: for each of a layer's experts its part of the work, as a multiple of the even part.
struct HeatMap {
  std::string title, x_title, y_title;
  std::vector<std::vector<double>> rows;  // [expert][column]
  std::vector<double> x;                  // [column], ascending
};
std::string draw(const HeatMap& map);

// Named rows by numbered columns, a text in each cell; the colour says how far the cell is from `fair`.
struct Matrix {
  std::string title, x_title, y_title;
  std::vector<std::string> rows;
  std::vector<std::vector<double>> times;       // [row][column] of the fair part
  std::vector<std::vector<std::string>> texts;  // [row][column]; shown where there is room
};
std::string draw(const Matrix& matrix);

}  // namespace switchyard::page
