#include "train/corpus/world.h"

#include <cmath>
#include <set>

#include "tensor/error.h"

namespace switchyard::corpus {

const std::array<std::string_view, 32> towns = {
    "Aldmere", "Birchport",  "Carrowby",    "Dunsea",   "Eastholm",  "Farlow",     "Glenrock",  "Havenmouth",
    "Iverton", "Jarnham",    "Kestrel",     "Lindale",  "Marrow",    "Norwick",    "Oakhaven",  "Pellworth",
    "Quarley", "Ravensby",   "Saltash",     "Thornby",  "Umberley",  "Vinton",     "Westhaven", "Yarrowdale",
    "Zelton",  "Brackwater", "Coldharbour", "Elmstead", "Foxhollow", "Greyfields", "Millbrook", "Stonegate"};

const std::array<Profession, 32> professions = {{{"painter", "painted"},
                                                 {"poet", "wrote"},
                                                 {"composer", "composed"},
                                                 {"sculptor", "carved"},
                                                 {"architect", "designed"},
                                                 {"novelist", "wrote"},
                                                 {"weaver", "wove"},
                                                 {"clockmaker", "built"},
                                                 {"mapmaker", "drew"},
                                                 {"potter", "shaped"},
                                                 {"printer", "printed"},
                                                 {"shipwright", "launched"},
                                                 {"singer", "sang"},
                                                 {"actor", "staged"},
                                                 {"gardener", "planted"},
                                                 {"inventor", "invented"},
                                                 {"violinist", "played"},
                                                 {"engraver", "engraved"},
                                                 {"explorer", "charted"},
                                                 {"astronomer", "discovered"},
                                                 {"historian", "published"},
                                                 {"goldsmith", "forged"},
                                                 {"dancer", "danced"},
                                                 {"glassblower", "blew"},
                                                 {"translator", "translated"},
                                                 {"tailor", "stitched"},
                                                 {"carpenter", "made"},
                                                 {"engineer", "constructed"},
                                                 {"storyteller", "told"},
                                                 {"botanist", "catalogued"},
                                                 {"photographer", "photographed"},
                                                 {"puppeteer", "performed"}}};

const std::array<std::string_view, 32> work_things = {
    "River",   "Tower",  "Garden", "Mirror",  "Winter", "Bridge", "Lantern",  "Harvest", "Island", "Crown",  "Forest",
    "Voyage",  "Window", "Shadow", "Morning", "Stair",  "Bell",   "Orchard",  "Storm",   "Wheel",  "Meadow", "Castle",
    "Harbour", "Star",   "Desert", "Wolf",    "Rose",   "Clock",  "Mountain", "Summer",  "Road",   "Dream"};
const std::array<std::string_view, 16> work_kinds = {"Silver",   "Hidden",    "Broken",  "Golden",  "Quiet",  "Last",
                                                     "Burning",  "Crystal",   "Distant", "Endless", "Frozen", "Scarlet",
                                                     "Sleeping", "Wandering", "Ancient", "Secret"};
const std::array<std::string_view, 16> foods = {"onion soup",      "plum cake",     "smoked fish",     "rye bread",
                                                "baked apples",    "goat cheese",   "roast chestnuts", "lentil stew",
                                                "honey biscuits",  "pickled beets", "pear tart",       "mushroom pie",
                                                "barley porridge", "fried eggs",    "cabbage rolls",   "walnut bread"};
const std::array<std::string_view, 16> pastimes = {
    "fishing",       "chess",      "long walks",        "beekeeping",    "sailing",       "juggling",
    "bird watching", "card games", "collecting coins",  "ice skating",   "growing roses", "training dogs",
    "star gazing",   "knitting",   "playing the flute", "mending clocks"};

namespace {

constexpr std::array<std::string_view, 64> first_names = {
    "Agnes",    "Beatrice", "Cecilia",   "Dorothea", "Eleanor",  "Frances",   "Gertrude", "Harriet",
    "Ingrid",   "Johanna",  "Katherine", "Louisa",   "Margaret", "Nora",      "Octavia",  "Paulina",
    "Regina",   "Sophia",   "Theresa",   "Ursula",   "Victoria", "Winifred",  "Adela",    "Bridget",
    "Cordelia", "Edith",    "Florence",  "Helena",   "Isabel",   "Josephine", "Lydia",    "Matilda",
    "Albert",   "Benedict", "Conrad",    "Dominic",  "Edmund",   "Frederick", "Gregory",  "Henry",
    "Isaac",    "Jacob",    "Kilian",    "Leopold",  "Martin",   "Nicholas",  "Oswald",   "Patrick",
    "Quentin",  "Robert",   "Samuel",    "Thomas",   "Ulrich",   "Vincent",   "Walter",   "Ambrose",
    "Bernard",  "Clement",  "Daniel",    "Ernest",   "Francis",  "Gilbert",   "Hubert",   "Julian"};
constexpr std::array<std::string_view, 40> surname_heads = {
    "Ash",  "Bar", "Bel",  "Bran", "Cal", "Car",  "Chal", "Clif", "Cran", "Dal",  "Den", "Dray", "Ed",  "El",
    "Fair", "Fen", "Gar",  "Gil",  "Hal", "Hart", "Hol",  "Ken",  "Kirk", "Lang", "Lei", "Mar",  "Mel", "Mor",
    "Nor",  "Pem", "Pres", "Rad",  "Red", "Rook", "Sel",  "Shel", "Stan", "Tal",  "Wal", "Whit"};
constexpr std::array<std::string_view, 40> surname_tails = {
    "bourne", "bridge", "brook", "bury",  "by",   "combe", "cott",  "croft", "dale", "den",
    "don",    "drake",  "field", "ford",  "gate", "grave", "ham",   "hurst", "land", "ley",
    "lock",   "low",    "man",   "mont",  "more", "ness",  "pole",  "ridge", "sey",  "shaw",
    "side",   "smith",  "stead", "stone", "stow", "ton",   "ville", "wick",  "win",  "worth"};
constexpr int surnames = static_cast<int>(surname_heads.size() * surname_tails.size());
static_assert(first_names.size() * surnames >= max_people, "the names must suffice for the largest cast");

std::vector<Person> make_cast(Dice dice, int count) {
  std::vector<int> deck(first_names.size() * surnames);  // one card for each name; the cast is dealt from the top
  for (size_t i = 0; i < deck.size(); ++i) deck[i] = static_cast<int>(i);
  std::vector<Person> people(count);
  const auto draw = [&](size_t n) { return static_cast<int>(dice.below(n)); };
  for (int i = 0; i < count; ++i) {
    std::swap(deck[i], deck[i + draw(deck.size() - i)]);
    const int first = deck[i] / surnames, last = deck[i] % surnames;
    Person& person = people[i];
    person.first = first_names[first];
    person.last = surname_heads[last / surname_tails.size()];
    person.last += surname_tails[last % surname_tails.size()];
    person.woman = first < static_cast<int>(first_names.size()) / 2;
    person.birth_year = first_birth_year + draw(birth_years);
    person.town = draw(towns.size());
    person.profession = draw(professions.size());
    person.food = draw(foods.size());
    person.pastime = draw(pastimes.size());
    person.work_kind = draw(work_kinds.size());
    person.work_thing = draw(work_things.size());
    person.teacher = (i + 1 + draw(count - 1)) % count;
  }
  return people;
}

constexpr std::string_view person_meanings[] = {"mother", "father",  "sister",    "brother", "friend", "child",
                                                "baker",  "teacher", "fisherman", "king",    "doctor", "singer"};
constexpr std::string_view thing_meanings[] = {"bread",  "apple", "lamp", "book", "boat",  "coat", "stone",
                                               "flower", "table", "song", "cup",  "knife", "rope", "hat"};
constexpr std::string_view place_meanings[] = {"house", "river", "market", "forest",  "garden",
                                               "sea",   "hill",  "road",   "village", "bridge"};
constexpr std::string_view on_thing_meanings[] = {"to see",  "to find",  "to lose", "to sell",
                                                  "to want", "to carry", "to make", "to break"};
constexpr std::string_view on_person_meanings[] = {"to love", "to meet", "to hear", "to help", "to thank", "to fear"};
constexpr std::string_view on_place_meanings[] = {"to walk", "to run", "to travel", "to return", "to sail"};
constexpr std::string_view adjective_meanings[] = {"old",   "new",  "good", "red",   "small", "great",
                                                   "white", "warm", "sad",  "happy", "quiet", "strong"};

// Coins words. The class of a word is heard in its ending, so that no form of one word is a form of another: nouns end
// in a consonant (plural -i), verbs in u (past -ve, future -lo), adjectives in a (plural -ai), the small words in o.
class Coiner {
 public:
  explicit Coiner(Dice& dice) : dice_(dice) {}

  std::string coin(int syllables, Words endings) {
    for (;;) {
      std::string word;
      for (int i = 0; i < syllables; ++i) {
        // Two statements, for in one the compiler would choose which is drawn first; the vowel is.
        const std::string vowel = i + 1 < syllables ? one(vowels) : std::string();
        word += one(onsets) + vowel;
      }
      word += one(endings);
      if (taken_.insert(word).second) return word;
    }
  }
  std::vector<Entry> entries(Words meanings, Words endings) {
    std::vector<Entry> list;
    for (std::string_view meaning : meanings) list.push_back({coin(2 + (dice_.below(4) == 0), endings), meaning});
    return list;
  }

 private:
  static constexpr std::string_view onsets[] = {"b", "d", "f", "g", "k", "l",  "m",  "n", "p",
                                                "r", "s", "t", "v", "z", "kr", "tl", "š", "ñ"};
  static constexpr std::string_view vowels[] = {"a", "e", "i", "o", "u", "a", "e", "o", "ë"};
  std::string one(Words list) { return std::string(list[dice_.below(list.size())]); }

  Dice& dice_;
  std::set<std::string> taken_;
};

Language make_language(Dice dice) {
  static constexpr std::string_view noun_ends[] = {"an", "el", "ir", "om", "as", "et", "ul", "ek"};
  static constexpr std::string_view verb_ends[] = {"u"}, adjective_ends[] = {"a"}, small_ends[] = {"o"};
  static constexpr std::string_view name_ends[] = {"in", "ara", "ov", "esh", "ël"};
  Coiner coiner(dice);
  Language language;
  language.nouns = {coiner.entries(person_meanings, noun_ends), coiner.entries(thing_meanings, noun_ends),
                    coiner.entries(place_meanings, noun_ends)};
  language.verbs = {coiner.entries(on_person_meanings, verb_ends), coiner.entries(on_thing_meanings, verb_ends),
                    coiner.entries(on_place_meanings, verb_ends)};
  language.adjectives = coiner.entries(adjective_meanings, adjective_ends);
  while (language.names.size() < 16) {  // a capital is an ASCII letter, so a name begins with one
    const std::string name = coiner.coin(2, name_ends);
    if (static_cast<unsigned char>(name[0]) < 128) language.names.push_back(capital(name));
  }
  for (std::string* word : {&language.the, &language.and_, &language.not_, &language.to})
    *word = coiner.coin(1, small_ends);
  for (std::string* word : {&language.dear, &language.farewell}) *word = coiner.coin(2, small_ends);
  return language;
}

}  // namespace

World make_world(uint64_t seed, int people) {
  check(people >= min_people && people <= max_people, "--people {}: must be {} to {}", people, min_people, max_people);
  enum : uint64_t { cast_stream = ~0ull, language_stream = ~0ull - 1 };  // far from those of the documents
  return {make_cast(Dice(seed, cast_stream), people), make_language(Dice(seed, language_stream))};
}

double fact_bits(int people) {
  const double year = std::log2(birth_years), teacher = std::log2(people - 1.0);
  const double rows = std::log2(towns.size()) + std::log2(professions.size()) + std::log2(foods.size()) +
                      std::log2(pastimes.size()) + std::log2(work_kinds.size()) + std::log2(work_things.size());
  return people * (year + rows + teacher);
}

}  // namespace switchyard::corpus
