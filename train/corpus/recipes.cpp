// Recipes: a dish, its ingredients in proportion to the number of people, and steps that use exactly those.
#include <fmt/format.h>

#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

struct Ingredient {
  std::string_view one, many;  // "carrot", "carrots"; the same where nothing is counted
  std::string_view unit;       // "" for what is counted
  int amount;                  // for two people
};
struct Dish {
  std::string_view name;
  bool sweet;
  std::array<Ingredient, 3> base;  // {first}, {second} and {third} of the steps
  std::string_view early, late;    // two steps; {main} is the vegetable or fruit, {them} its pronoun
};

constexpr Ingredient vegetables[] = {{"carrot", "carrots", "", 3},     {"leek", "leeks", "", 2},
                                     {"tomato", "tomatoes", "", 4},    {"potato", "potatoes", "", 3},
                                     {"mushroom", "mushrooms", "", 8}, {"pumpkin", "pumpkin", "g", 300},
                                     {"spinach", "spinach", "g", 200}, {"cabbage", "cabbage", "g", 250}};
constexpr Ingredient fruits[] = {{"apple", "apples", "", 2},     {"pear", "pears", "", 2},
                                 {"plum", "plums", "", 6},       {"banana", "bananas", "", 2},
                                 {"peach", "peaches", "", 3},    {"cherry", "cherries", "g", 150},
                                 {"apricot", "apricots", "", 4}, {"strawberry", "strawberries", "g", 120}};
constexpr Ingredient savoury_extras[] = {{"cheese", "cheese", "g", 60},       {"bacon", "bacon", "g", 80},
                                         {"peas", "peas", "g", 100},          {"ham", "ham", "g", 80},
                                         {"parsley", "parsley", "spoons", 2}, {"walnuts", "walnuts", "g", 40}};
constexpr Ingredient sweet_extras[] = {{"honey", "honey", "spoons", 2},     {"almonds", "almonds", "g", 40},
                                       {"cream", "cream", "ml", 100},       {"raisins", "raisins", "g", 50},
                                       {"chocolate", "chocolate", "g", 60}, {"jam", "jam", "spoons", 3}};

constexpr Dish dishes[] = {
    {"soup",
     false,
     {{{"onion", "onions", "", 1}, {"butter", "butter", "g", 20}, {"water", "water", "ml", 400}}},
     "[Melt|Heat] the {second} in a pot and fry the {first} for {short} minutes.",
     "[Add|Stir in] the {main} and the {third} and [cook|boil|simmer] for {long} minutes."},
    {"stew",
     false,
     {{{"onion", "onions", "", 1}, {"beans", "beans", "g", 150}, {"stock", "stock", "ml", 300}}},
     "[Chop the {first}|Cut the {first} into rings] and fry with the {main} for {short} minutes.",
     "[Pour in|Add] the {third} and the {second} and [cook|simmer] for {long} minutes."},
    {"omelette",
     false,
     {{{"egg", "eggs", "", 4}, {"milk", "milk", "ml", 50}, {"butter", "butter", "g", 10}}},
     "[Beat|Whisk] the {first} with the {second} and a little salt.",
     "Fry the {main} in the {third} for {short} minutes, [pour the {first} over {them}|add the {first}] and wait until "
     "firm."},
    {"noodles",
     false,
     {{{"noodles", "noodles", "g", 200}, {"cream", "cream", "ml", 100}, {"onion", "onions", "", 1}}},
     "[Boil|Cook] the {first} in salted water for {short} minutes.",
     "Fry the {third} and the {main}, [add|pour in] the {second} and [mix with|stir in] the {first}."},
    {"salad",
     false,
     {{{"lettuce", "lettuces", "", 1}, {"oil", "oil", "spoons", 2}, {"lemon", "lemons", "", 1}}},
     "[Tear|Cut] the {first} into strips and [mix|toss] with the {main}.",
     "[Squeeze the {third}|Press the {third}], [stir|whisk] the juice with the {second} and pour over the {first}."},
    {"pie",
     false,
     {{{"flour", "flour", "g", 200}, {"butter", "butter", "g", 100}, {"egg", "eggs", "", 1}}},
     "[Knead|Mix] the {first}, the {second} and the {third} into a dough and line a tin with it.",
     "[Fill in|Spread] the {main} and bake [in a hot oven|at 180 degrees] for {long} minutes."},
    {"pancakes",
     true,
     {{{"flour", "flour", "g", 150}, {"milk", "milk", "ml", 200}, {"egg", "eggs", "", 2}}},
     "[Whisk|Beat|Mix] the {first}, the {second} and the {third} and let the batter rest for {short} minutes.",
     "Fry thin pancakes and [fill|cover] each with some of the {main}."},
    {"cake",
     true,
     {{{"flour", "flour", "g", 200}, {"butter", "butter", "g", 100}, {"egg", "eggs", "", 2}}},
     "[Beat|Mix] the {second} and the {third} until smooth and [add|stir in] the {first}.",
     "[Lay|Put] the {main} on the dough and bake [in a hot oven|at 180 degrees] for {long} minutes."},
    {"porridge",
     true,
     {{{"oats", "oats", "g", 100}, {"milk", "milk", "ml", 400}, {"sugar", "sugar", "spoons", 2}}},
     "[Heat|Boil|Warm] the {second} and [stir in|add] the {first} and the {third}.",
     "[Cook|Simmer] for {short} minutes and put the {main} on top."},
    {"crumble",
     true,
     {{{"flour", "flour", "g", 120}, {"butter", "butter", "g", 80}, {"sugar", "sugar", "spoons", 4}}},
     "[Rub|Mix] the {first}, the {second} and the {third} [with your fingers|by hand] into crumbs.",
     "[Put|Lay] the {main} in a dish, cover {them} with the crumbs and bake for {long} minutes."},
    {"pudding",
     true,
     {{{"rice", "rice", "g", 100}, {"milk", "milk", "ml", 500}, {"sugar", "sugar", "spoons", 3}}},
     "[Cook|Simmer] the {first} in the {second} with the {third} for {long} minutes.",
     "[Stir in the {main}|Fold the {main} into the pudding] and let it cool for {short} minutes."},
    {"dumplings",
     true,
     {{{"flour", "flour", "g", 150}, {"curd", "curd", "g", 200}, {"egg", "eggs", "", 1}}},
     "[Knead|Mix] the {first}, the {second} and the {third} and let the dough rest for {short} minutes.",
     "[Wrap|Hide] some of the {main} in each dumpling and boil them for {short} minutes."}};

std::string amount(const Ingredient& ingredient, int people) {
  const int number = ingredient.amount * people / 2;
  if (ingredient.unit.empty()) return fmt::format("{} {}", number, number == 1 ? ingredient.one : ingredient.many);
  if (ingredient.unit == "spoons") return fmt::format("{} spoons of {}", number, ingredient.many);
  return fmt::format("{} {} {}", number, ingredient.unit, ingredient.many);
}

// What a step calls it, once the amount is known: "the onion" for two people, "the onions" for four.
std::string called(const Ingredient& ingredient, int people) {
  const bool single = ingredient.unit.empty() && ingredient.amount * people == 2;
  return std::string(single ? ingredient.one : ingredient.many);
}

// All ingredients, in any order, with a full stop behind the last.
void list(Writer& writer, std::vector<std::string> items) {
  writer.one_of({"You need ", "Ingredients: ", "Take "});
  while (!items.empty()) {
    const int next = writer.choose(static_cast<int>(items.size()), [&](int i) { return items[i]; });
    writer.raw(items[next]);
    items.erase(items.begin() + next);
    writer.raw(items.empty() ? ".\n" : items.size() == 1 ? " and " : ", ");
  }
}

}  // namespace

void write_recipe(Writer& writer, const World&) {
  const bool sweet = writer.choose(2);
  const auto& mains = sweet ? fruits : vegetables;
  const auto& extras = sweet ? sweet_extras : savoury_extras;
  int main = 0, dish = 0, extra = 0;
  writer.vary(
      "one", 8, [&](int i) { return std::string(mains[i].one); }, [&](int i) { main = i; });
  writer.vary(
      "dish", 6, [&](int i) { return std::string(dishes[6 * sweet + i].name); }, [&](int i) { dish = 6 * sweet + i; });
  writer.vary(
      "extra", 6, [&](int i) { return std::string(extras[i].many); }, [&](int i) { extra = i; });
  writer.vary_number("people", 2, 6, 2);
  writer.one_of({"{One} {dish} with {extra}, for {people} people\n",
                 "Recipe for {one} {dish} with {extra}, for {people}\n",
                 "{One} {dish} with {extra} (for {people} people)\n"});
  const int people = writer.value("people");
  const auto& base = dishes[dish].base;
  writer.set("main", called(mains[main], people));
  writer.set("them", mains[main].one == mains[main].many ? "it" : "them");
  writer.set("first", called(base[0], people));
  writer.set("second", called(base[1], people));
  writer.set("third", called(base[2], people));
  list(writer, {amount(mains[main], people), amount(base[0], people), amount(base[1], people), amount(base[2], people),
                amount(extras[extra], people)});

  if (writer.chance(1, 1)) {
    writer.write("You also need a [large|small] [pot|bowl|knife|spoon|plate][| and a clean towel| and some time].\n");
  }
  writer.vary_number("short", 4, 12, 2);
  writer.vary_number("long", 15, 40, 5);
  writer.write("1. [Wash|Rinse|Clean] the {main} and cut {them} into [small pieces|slices|cubes|strips].\n2. ");
  writer.write(dishes[dish].early);
  writer.raw("\n3. ");
  writer.write(dishes[dish].late);
  writer.write(
      "\n4. [Add the {extra} at the end|Top everything with the {extra}|Finish with the {extra}|Stir in the {extra}]");
  writer.write(sweet ? " and [serve|eat] [warm|cold|with tea|on a large plate|with a glass of milk].\n"
                     : " and [season with|add] [salt|pepper|thyme|a little garlic] [to taste|before serving].\n");
  writer.one_of({"It tastes even better the next day.\n", "Enjoy your meal!\n", "Wash up and rest a little.\n", ""});
}

}  // namespace switchyard::corpus
