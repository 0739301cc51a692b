#include "train/conversations.h"

#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/file.h"

namespace switchyard {
namespace {

constexpr std::string_view role_names[] = {"system", "user", "assistant"};
constexpr std::string_view speakers[] = {"System:", "User:", "Assistant:"};
constexpr std::string_view white = " \t\r\n";

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(white);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(white) + 1 - first));
}

Role role_of(const nlohmann::json& message, const std::string& where) {
  const auto role = message.find("role");
  check(role != message.end() && role->is_string(), "{}: a message has no \"role\"", where);
  for (size_t i = 0; i < std::size(role_names); ++i)
    if (*role == role_names[i]) return static_cast<Role>(i);
  fail("{}: \"role\": {}: must be system, user or assistant", where, role->dump());
}

// `where` is "FILE:LINE".
Conversation parse(std::string_view line, const std::string& where) {
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
  check(!object.is_discarded(), "{}: not JSON; each line must be one whole object", where);
  const bool has_messages = object.is_object() && object.contains("messages") && object["messages"].is_array();
  check(has_messages, "{}: must be {{\"messages\": [{{\"role\": \"user\", \"content\": \"…\"}}, …]}}", where);
  Conversation conversation;
  for (const nlohmann::json& message : object["messages"]) {
    check(message.is_object(), "{}: a message must be {{\"role\": …, \"content\": …}}", where);
    const Role role = role_of(message, where);
    const bool opened = !conversation.empty() && conversation.back().role != Role::assistant;
    const bool system_first = role == Role::system && conversation.empty();
    const bool asks = role == Role::user && (!opened || conversation.back().role == Role::system);
    const bool answers = role == Role::assistant && opened && conversation.back().role == Role::user;
    check(system_first || asks || answers,
          "{}: message {}: {}: out of turn; after an optional system, user and assistant "
          "take turns",
          where, conversation.size() + 1, role_names[static_cast<size_t>(role)]);
    const auto content = message.find("content");
    check(content != message.end() && content->is_string(), "{}: message {}: \"content\" must be a text", where,
          conversation.size() + 1);
    conversation.push_back({role, trimmed(content->get<std::string>())});
    check(!conversation.back().content.empty(), "{}: message {}: \"content\" is empty", where, conversation.size());
  }
  check(!conversation.empty() && conversation.back().role == Role::assistant,
        "{}: must end with an assistant's message: answers are what is learnt", where);
  return conversation;
}

}  // namespace

void each_conversation(const std::filesystem::path& file, const std::function<bool(const Conversation&)>& f) {
  const MappedFile mapped(file);
  std::string_view rest(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  for (int64_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.find_first_not_of(white) == std::string_view::npos) continue;
    if (!f(parse(line, fmt::format("{}:{}", file.string(), number)))) return;
  }
}

std::string json_line(const Conversation& conversation) {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const Message& m : conversation)
    messages.push_back({{"role", role_names[static_cast<size_t>(m.role)]}, {"content", m.content}});
  return nlohmann::ordered_json{{"messages", messages}}.dump();
}

//@begin pieces
std::vector<Piece> pieces_of(const Conversation& conversation) {
  std::vector<Piece> pieces;
  std::string asked;
  for (const Message& m : conversation) {
    asked += speakers[static_cast<size_t>(m.role)];
    if (m.role != Role::assistant) {
      asked += " " + m.content + "\n";
      continue;
    }
    pieces.push_back({std::move(asked), false});
    pieces.push_back({" " + m.content, true});
    asked.clear();
  }
  return pieces;
}
//@end pieces

std::string prompt_for(std::string_view question) {
  return pieces_of({{Role::user, trimmed(question)}, {Role::assistant, ""}})[0].text;
}

std::string answer_in(std::string_view written) { return trimmed(written); }

std::string_view chat_template() {
  return "{% for m in messages %}"
         "{% if m['role'] == 'assistant' %}Assistant: {{ m['content'] | trim }}{{ eos_token }}"
         "{% else %}{{ m['role'] | capitalize }}: {{ m['content'] | trim }}\n{% endif %}"
         "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";
}

}  // namespace switchyard
