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

}  // namespace switchyard::corpus
