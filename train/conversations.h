// Conversations: the file that they come in, and how a model reads one as text.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

enum class Role : uint8_t { system, user, assistant };

struct Message {
  Role role;
  std::string content;  // not empty, without white space at either end
};
// A system's message or none; then a user's and an assistant's in turn. It ends with the assistant's.
using Conversation = std::vector<Message>;

// Calls f with each conversation of a file of JSON lines, {"messages": [{"role": "user", "content": "…"}, …]}, until f
// returns false. Other keys are left alone, and so are empty lines. Error, naming the file and the line: no such
// object, roles out of turn, content that is no text or an empty one.
void each_conversation(const std::filesystem::path& file, const std::function<bool(const Conversation&)>& f);
// The line of such a file, without its end.
std::string json_line(const Conversation& conversation);

// The template: plain text, so that any tokenizer has it, as in Vicuna (Chiang et al. 2023). <|end|> is the tokenizer's
// separator, which no content can forge:
//   System: CONTENT
//   User: CONTENT
//   Assistant: CONTENT<|end|>User: …
// What leads to an answer, from the beginning or from the last answer's <|end|>, is one piece; the answer, which begins
// with its space, is another. An <|end|> closes each answer. A tokenizer that cuts words at spaces, as all of ours do,
// makes the same tokens of the pieces as of the whole.
struct Piece {
  std::string text;
  bool answer;
};
std::vector<Piece> pieces_of(const Conversation& conversation);
// What a model is given so that it answers: "User: QUESTION\nAssistant:".
std::string prompt_for(std::string_view question);
// The content of an answer that a model has written.
std::string answer_in(std::string_view written);
// The template in Jinja, as tokenizer_config.json has it under "chat_template".
std::string_view chat_template();

}  // namespace switchyard
