// Biographies: facts about people of the cast, in any order and wording. A person's facts are the same in every
// document, so that they cost a model nothing once it knows the cast.
#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

enum Fact { birth, town, profession, teacher, work, food, pastime, fact_count };

// The wordings of a fact. {she} begins a sentence as a pronoun; {name} and {last} stand for the person, too.
constexpr std::array<std::string_view, 5> wordings[fact_count] = {
    {"{She} was born in {birth}.", "{Last} was born in the year {birth}.", "The year of {hers} birth was {birth}.",
     "{She} came into the world in {birth}.", "{Hers} life began in {birth}."},
    {"{She} grew up in {town}.", "{Last} came from {town}.", "{Hers} home town was {town}.",
     "{She} spent [most of {hers} life|many years] in {town}.", "The people of {town} [still|often] speak of {her}."},
    {"{She} worked as {a profession}.", "{Last} became {a profession}.",
     "{Hers} profession was that of {a profession}.", "{She} [was known as|earned {hers} living as] {a profession}.",
     "[All|Nearly all] {hers} life {she} was {a profession}."},
    {"{She} was a pupil of {teacher}.", "{Last} learned from {teacher}.",
     "{Hers} teacher was {teacher}, {a teacher's profession}.", "{She} studied with {teacher} of {teacher's town}.",
     "{Teacher} taught {her} [everything|for many years|with patience]."},
    {"{She} {made} The {work}.", "{Last} {made} The {work}, {hers} [best known|most famous] work.",
     "{Hers} most famous work is The {work}.", "The {work} made {her} famous.",
     "People [still|often] talk about The {work}."},
    {"{She} loved {food}.", "{Last} could never refuse {food}.", "{Hers} favourite dish was {food}.",
     "{She} ate {food} [every day|on Sundays|whenever {she} could].", "On {hers} table there was always {food}."},
    {"{She} enjoyed {pastime}.", "{Last} had a passion for {pastime}.", "{Hers} favourite pastime was {pastime}.",
     "In {hers} free time {she} turned to {pastime}.", "[Friends|Neighbours] remember {hers} love of {pastime}."}};

// First sentences bring the full name, and one or two facts.
struct Opening {
  std::string_view pattern;
  std::array<Fact, 2> told;
};
constexpr Opening openings[] = {{"{name} was {a profession} from {town}.", {profession, town}},
                                {"{name} was born in {birth} in {town}.", {birth, town}},
                                {"{name}, {profession}, was born in {birth}.", {profession, birth}},
                                {"{name} is remembered for The {work}.", {work, work}},
                                {"{name}, a pupil of {teacher}, was {a profession}.", {teacher, profession}},
                                {"{name} of {town} {made} The {work}.", {town, work}}};

void set_facts(Writer& writer, const World& world, const Person& person) {
  const Person& teacher = world.people[person.teacher];
  set_pronouns(writer, person.woman);
  writer.set("last", person.last);
  writer.set("birth", std::to_string(person.birth_year));
  writer.set("town", std::string(towns[person.town]));
  writer.set("profession", std::string(professions[person.profession].name));
  writer.set("made", std::string(professions[person.profession].made));
  writer.set("teacher", teacher.name());
  writer.set("teacher's profession", std::string(professions[teacher.profession].name));
  writer.set("teacher's town", std::string(towns[teacher.town]));
  writer.set("work", std::string(work_kinds[person.work_kind]) + " " + std::string(work_things[person.work_thing]));
  writer.set("food", std::string(foods[person.food]));
  writer.set("pastime", std::string(pastimes[person.pastime]));
}

}  // namespace

void write_biography(Writer& writer, const World& world) {
  const auto& people = world.people;
  const int who = writer.choose(static_cast<int>(people.size()), [&](int i) { return people[i].name(); });
  writer.set("name", people[who].name());
  set_facts(writer, world, people[who]);
  const Opening& opening = openings[writer.choose(std::size(openings))];
  writer.write(opening.pattern);

  std::array<uint32_t, fact_count + 1> weights;  // the facts not told yet, and the end
  weights.fill(1);
  for (Fact told : opening.told) weights[told] = 0;
  for (int sentences = 1; sentences < fact_count; ++sentences) {
    weights[fact_count] = sentences >= 5;
    uint32_t left = 0;
    for (uint32_t weight : weights) left += weight;
    if (left == 0) break;
    const int fact = writer.choose(weights);
    if (fact == fact_count) break;
    weights[fact] = 0;
    writer.raw(" ");
    writer.one_of(wordings[fact]);
  }
}

}  // namespace switchyard::corpus
