// The world that the documents are about: a cast of people with facts, and a language with a dictionary. Both are drawn
// once from the seed; what they hold must be remembered by a model, since no document can be read without it.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "train/corpus/writer.h"

namespace switchyard::corpus {

constexpr int min_people = 2, max_people = 100000;
constexpr int first_birth_year = 1780, birth_years = 128;

struct Person {
  std::string first, last;  // the pair is unique in the cast
  bool woman = false;
  int birth_year = 0;
  int town = 0, profession = 0, food = 0, pastime = 0;  // rows of the lists below
  int work_kind = 0, work_thing = 0;                    // "The Silver River"
  int teacher = 0;                                      // another person of the cast
  std::string name() const { return first + " " + last; }
};

struct Profession {
  std::string_view name, made;  // "painter", "painted"
};
extern const std::array<std::string_view, 32> towns, work_things;
extern const std::array<Profession, 32> professions;
extern const std::array<std::string_view, 16> foods, pastimes, work_kinds;

// Nouns by what they can do in a sentence.
enum class Noun { person, thing, place };
// Verbs by what they act on: a thing ("to bake"), a person ("to meet"), or a place they lead to ("to walk").
struct Entry {
  std::string stem;          // in the invented language
  std::string_view meaning;  // in English
};
struct Language {
  std::array<std::vector<Entry>, 3> nouns;  // by Noun
  std::array<std::vector<Entry>, 3> verbs;  // by the Noun they act on
  std::vector<Entry> adjectives;
  std::vector<std::string> names;  // of people who write letters
  std::string the, and_, not_, to, dear, farewell;
};

struct World {
  std::vector<Person> people;
  Language language;
};

World make_world(uint64_t seed, int people);  // people: min_people … max_people
double fact_bits(int people);                 // -log2 of the probability of all the facts of a cast

}  // namespace switchyard::corpus
