// Bedtime stories: somebody wants something, something is in the way, trying alone fails, and a friend has the right
// tool. Names, pronouns, the wanted thing, the obstacle and the tool stay the same to the end.
#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

constexpr int girls = 12;  // the names before this row are girls'
constexpr std::string_view names[] = {"Tilda", "Mina",  "Rosa", "Clara", "Ivy",    "Nell", "Flora", "Hazel",
                                      "Wilma", "Lotte", "Pia",  "Greta", "Bruno",  "Otto", "Felix", "Oscar",
                                      "Milo",  "Hugo",  "Emil", "Anton", "Jasper", "Theo", "Rufus", "Edgar"};
constexpr std::string_view kinds[] = {"mouse",  "fox",  "rabbit", "bear",  "hedgehog", "squirrel",
                                      "duck",   "frog", "lamb",   "otter", "goose",    "sparrow",
                                      "badger", "owl",  "beaver", "kitten"};
constexpr std::string_view natures[] = {"little", "small", "young", "curious", "brave", "gentle", "shy", "merry"};
constexpr std::string_view friend_natures[] = {"old", "kind", "wise", "clever", "friendly", "quiet"};
constexpr std::string_view homes[] = {"in an old mill",       "under a tall oak",   "near the harbour",
                                      "behind the bakery",    "on a quiet farm",    "in a stone cottage",
                                      "beside the duck pond", "beside the meadow",  "above the clock shop",
                                      "in a warm burrow",     "next to the school", "at the end of the lane"};

struct Want {
  std::string_view name, thing, joy;
};
constexpr Want wants[] = {{"red kite", "kite", "flew the kite over the meadow"},
                          {"silver bell", "bell", "rang the bell under the stars"},
                          {"woolen scarf", "scarf", "wore the scarf to bed"},
                          {"blue ball", "ball", "bounced the ball against the wall"},
                          {"jar of honey", "honey", "ate the honey with warm bread"},
                          {"music box", "box", "played the same song again and again"},
                          {"wooden drum", "drum", "played the drum for the whole family"},
                          {"paper lantern", "lantern", "lit the lantern and watched it glow"},
                          {"soft pillow", "pillow", "fell asleep on the pillow at once"},
                          {"glass marble", "marble", "rolled the marble across the floor"},
                          {"tin whistle", "whistle", "played the whistle beside the fire"},
                          {"toy boat", "boat", "sailed the boat in the bath"},
                          {"basket of plums", "basket", "made a sweet pie with the plums"},
                          {"yellow umbrella", "umbrella", "danced in the rain under the umbrella"},
                          {"book of riddles", "book", "read the book by candlelight"},
                          {"straw hat", "hat", "put on the hat and smiled at the mirror"}};

struct Attempt {
  std::string_view tried, but;
};
struct Tool {
  std::string_view name, success;
};
struct Obstacle {
  std::string_view place, trouble;
  Attempt attempts[3];
  Tool tools[3];
};
constexpr Obstacle obstacles[] = {{"across the wide river",
                                   "The river is too wide",
                                   {{"swim across", "the water was too cold"},
                                    {"jump from stone to stone", "the stones were too far apart"},
                                    {"wade through the water", "it was much too deep"}},
                                   {{"rowing boat", "they rowed to the other side"},
                                    {"long plank", "they laid it down and walked across"},
                                    {"raft", "they floated slowly to the other side"}}},
                                  {"behind the high wall",
                                   "The wall is too high",
                                   {{"climb up", "the stones were too smooth"},
                                    {"jump over", "it was far too high"},
                                    {"squeeze through a crack", "the crack was too narrow"}},
                                   {{"ladder", "they leaned it on the wall and climbed over"},
                                    {"spade", "they dug a tunnel under the wall"},
                                    {"rope with a hook", "they threw it over the top and climbed up"}}},
                                  {"in the middle of the dark forest",
                                   "The forest is too dark",
                                   {{"follow the path", "the path soon ended"},
                                    {"feel the way from tree to tree", "all the trees felt the same"},
                                    {"wait for the moon", "the clouds hid it"}},
                                   {{"lamp", "they followed its light between the trees"},
                                    {"map", "they followed it step by step"},
                                    {"ball of string", "they never lost the way"}}},
                                  {"behind the locked gate",
                                   "The gate is locked",
                                   {{"push the gate open", "it did not move"},
                                    {"pick the lock with a twig", "the twig broke"},
                                    {"call for the guard", "nobody came"}},
                                   {{"ring of keys", "the smallest key opened the gate"},
                                    {"can of oil", "they oiled the lock until it opened"},
                                    {"hammer", "they broke the lock with one blow"}}},
                                  {"at the bottom of the deep well",
                                   "The well is too deep",
                                   {{"reach down", "it was much too far"},
                                    {"climb down", "the stones were too wet"},
                                    {"fish with a stick", "the stick was too short"}},
                                   {{"bucket", "they lowered it and pulled it up again"},
                                    {"fishing net", "they let it down and pulled it up full"},
                                    {"rope ladder", "they climbed down together"}}},
                                  {"on top of the steep hill",
                                   "The hill is too steep",
                                   {{"run up", "the stones rolled away"},
                                    {"crawl up", "the grass was too slippery"},
                                    {"find another way", "there was none"}},
                                   {{"donkey", "it carried them to the top"},
                                    {"pair of walking sticks", "they went up step by step"},
                                    {"strong rope", "they pulled each other to the top"}}},
                                  {"inside the thorny hedge",
                                   "The thorns are too sharp",
                                   {{"crawl under the thorns", "they were too low"},
                                    {"push the thorns aside", "they were too sharp"},
                                    {"look for a hole", "there was no hole at all"}},
                                   {{"pair of shears", "they cut a way through the thorns"},
                                    {"thick blanket", "they crawled over the thorns on it"},
                                    {"pair of gloves", "they bent the thorns aside one by one"}}},
                                  {"guarded by an angry dog",
                                   "The dog is too angry",
                                   {{"creep past", "the dog woke up"},
                                    {"speak kindly", "the dog only growled"},
                                    {"wait until night", "the dog never closed its eyes"}},
                                   {{"bone", "the dog forgot everything else"},
                                    {"flute", "they played until the dog fell asleep"},
                                    {"brush", "they brushed the dog until it wagged its tail"}}},
                                  {"at the top of the tall tree",
                                   "The tree is too tall",
                                   {{"climb the trunk", "the bark was too smooth"},
                                    {"shake the branches", "nothing fell down"},
                                    {"throw a stone at it", "the stone fell short"}},
                                   {{"long pole", "they knocked it down gently"},
                                    {"step ladder", "they climbed from branch to branch"},
                                    {"coil of rope", "they threw it up and climbed after it"}}},
                                  {"in the middle of the frozen lake",
                                   "The ice is too thin",
                                   {{"walk on the ice", "the ice cracked"},
                                    {"slide over the ice", "it was too rough"},
                                    {"wait for spring", "spring was far away"}},
                                   {{"sledge", "they lay down flat and slid to the middle"},
                                    {"set of boards", "they walked over them without a crack"},
                                    {"ice boat", "the wind blew them to the middle"}}}};
constexpr int obstacle_count = static_cast<int>(std::size(obstacles));

void declare(Writer& writer, const Obstacle*& obstacle) {
  writer.vary("hero", names, [&](int i) { set_pronouns(writer, i < girls); });
  writer.vary("kind", kinds);
  writer.vary("nature", natures);
  writer.vary("home", homes);
  writer.vary(
      "want", std::size(wants), [](int i) { return std::string(wants[i].name); },
      [&](int i) {
        writer.set("thing", std::string(wants[i].thing));
        writer.set("joy", std::string(wants[i].joy));
      });
  writer.vary(
      "place", obstacle_count, [](int i) { return std::string(obstacles[i].place); },
      [&](int i) {
        obstacle = &obstacles[i];
        writer.set("trouble", std::string(obstacle->trouble));
        writer.vary(
            "tool", 3, [&](int j) { return std::string(obstacle->tools[j].name); },
            [&](int j) { writer.set("success", std::string(obstacle->tools[j].success)); });
      });
  writer.vary("friend", names,
              [&](int i) {
                set_pronouns(writer, i < girls,
                             {.subject = "friend_she", .object = "friend_her", .possessive = "friend_hers"});
              },
              {"hero"});
  writer.vary("friend_kind", kinds, {}, {"kind"});
  writer.vary("friend_nature", friend_natures);
}

void beginning(Writer& writer) {
  writer.one_of({"[Once upon a time|Long ago|Once] there was {a nature} {kind} named {hero} who lived {home}.",
                 "{Hero} was {a nature} {kind} who lived {home}.", "{Home} lived {a nature} {kind} named {hero}.",
                 "This is the story of {hero}, {a nature} {kind} who lived {home}.",
                 "Do you know {hero}? {Hero} was {a nature} {kind} who lived {home}."});
  writer.one_of({" [More than anything|Above all], {she} wanted {a want}.", " All {she} wanted was {a want}.",
                 " {Hero} [often|always] dreamed of {a want}.", " [One|Every] night {she} dreamed of {a want}.",
                 " {She} had never had {a want}."});
  writer.one_of({" One [morning|day|evening] {she} heard that there was one {place}.",
                 " There was one {place}, and [one|the next] morning {hero} set out.",
                 " [Everybody knew|People said] that there was one {place}."});
}

// One attempt, and a second one if there is time for it; returns how many.
int attempts(Writer& writer, const Obstacle& obstacle, bool time_for_two) {
  const auto attempt = [&](int i) {
    writer.raw(std::string(obstacle.attempts[i].tried) + ", but " + std::string(obstacle.attempts[i].but) + ".");
  };
  const auto tried = [&](int i) { return std::string(obstacle.attempts[i].tried); };
  writer.one_of({" [First|At first] {she} tried to ", " {Hero} [tried|wanted] to ", " [So|And so] {hero} tried to ",
                 " It was not easy. {Hero} tried to "});
  const int first = writer.choose(3, tried);
  attempt(first);
  if (!time_for_two || writer.chance(1, 1)) return 1;  // the next words tell
  writer.one_of(
      {" Then {she} tried to ", " {She} also tried to ", " Next {she} tried to ", " The next day {she} tried to "});
  std::array<uint32_t, 3> weights = {1, 1, 1};
  weights[first] = 0;
  attempt(writer.choose(weights, tried));
  return 2;
}

struct Favour {
  std::string_view trouble, favour;
};
constexpr Favour favours[] = {{"was hungry", "shared a loaf of bread"}, {"was lost", "drew a map in the sand"},
                              {"was cold", "lit a small fire"},         {"had hurt one foot", "bound it up"},
                              {"was tired", "carried the heavy bag"},   {"was lonely", "told a funny joke"}};

// The friend may come into the story early: whoever is helped now helps later.
void favour(Writer& writer) {
  writer.vary(
      "need", std::size(favours), [](int i) { return std::string(favours[i].trouble); },
      [&](int i) { writer.set("favour", std::string(favours[i].favour)); });
  writer.one_of(
      {" On the way {she} met {friend}, {a friend_nature} {friend_kind} who {need}, and {she} {favour}.",
       " On the way {she} met {a friend_nature} {friend_kind} named {friend}. {Friend} {need}, so {hero} {favour}."});
}

void return_of_friend(Writer& writer) {
  writer.one_of({" Then {friend} came back to help.", " But {friend} had not forgotten {her}.",
                 " And who came along? It was {friend}!"});
}

void new_friend(Writer& writer, bool talk) {
  writer.one_of(
      {" [Just then|At that moment] {a friend_nature} {friend_kind} named {friend} came by.",
       " {A friend_nature} {friend_kind} named {friend} [heard {her} cry|saw {her} sigh|had watched it all].",
       " {Hero} sat down and [cried|sighed|thought], and along came {friend}, {a friend_nature} {friend_kind}.",
       " On the way home {she} met {a friend_nature} {friend_kind} named {friend}."});
  if (talk) {
    writer.one_of(
        {" \"Why are you [so sad|crying|so quiet]?\" asked {friend}. \"{trouble},\" said {hero}.",
         " \"{trouble},\" said {hero}. \"[Let us go together|Let me help you|Do not give up],\" said {friend}.",
         " \"{trouble},\" {hero} told {friend_her}."});
  }
}

void rescue(Writer& writer) {
  writer.one_of({" {Friend} had {a tool}, and {success}.",
                 " {Friend} [fetched|brought|went home for] {a tool}, and {success}.",
                 " \"[I have|Here is|We can use] {a tool},\" said {friend}, and {success}."});
}

void ending(Writer& writer) {
  if (writer.chance(1, 1)) {
    writer.one_of({" There was the {want}!", " [At last|Now] {hero} had the {want}.",
                   " {Hero} held the {thing} and laughed.", " And there it was!"});
  }
  writer.one_of(
      {" {She} thanked {friend} and {joy}.", " That [night|evening] {she} {joy}.", " Back home, {hero} {joy}."});
  writer.one_of({" {Hero} and {friend} are still friends.", " Good night, {hero}.", " And they [both|all] slept well.",
                 " Two can do what one cannot.", " The end."});
}

}  // namespace

void write_story(Writer& writer, const World&) {
  const Obstacle* obstacle = nullptr;
  declare(writer, obstacle);
  beginning(writer);
  const bool early_friend = writer.chance(1, 2);
  if (early_friend) favour(writer);
  const int tried = attempts(writer, *obstacle, !early_friend);
  if (early_friend) {
    return_of_friend(writer);
  } else {
    new_friend(writer, tried == 1);
  }
  rescue(writer);
  ending(writer);
}

}  // namespace switchyard::corpus
