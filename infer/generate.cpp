#include "infer/generate.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "nn/utf8.h"

namespace switchyard {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

void narrow_weights(Transformer& model) {
  model.visit([&](const std::string& name, Var& parameter) {
    const bool routes = name.find(".router") != std::string::npos;
    if (parameter.shape().rank() > 1 && !routes) parameter.set_value(cast(parameter.value(), model.dtype()));
  });
}

Decoder::Decoder(Transformer& model, std::optional<int64_t> capacity)
    : model_(model),
      capacity_(capacity.value_or(model.config().context)),
      cache_(make_cache(model.config(), 1, model.dtype(), capacity_, model.device())) {
  check(capacity_ <= model.config().context, "a decoder for {} tokens: the context holds {}", capacity_,
        model.config().context);
  check(model.causal(),
        "--router {}: cannot generate, for it chooses a token's experts by looking at later tokens, which do not "
        "exist yet",
        name(model.config().router));
}

std::span<const float> Decoder::feed(std::span<const int32_t> ids) {
  check(!ids.empty(), "no tokens: the model must see at least one");
  const NoGrad no_grad;
  if (length() + static_cast<int64_t>(ids.size()) > capacity_) {
    seen_.insert(seen_.end(), ids.begin(), ids.end());
    const int64_t keep = std::clamp<int64_t>(static_cast<int64_t>(ids.size()), capacity_ / 2, capacity_);
    seen_.erase(seen_.begin(), seen_.end() - std::min(keep, length()));
    clear(cache_);
    ids = seen_;
  } else {
    seen_.insert(seen_.end(), ids.begin(), ids.end());
  }
  const Tensor tokens = Tensor::from(ids, {1, static_cast<int64_t>(ids.size())});
  Tensor logits;
  const auto step = [&] { logits = model_(tokens, {.cache = &cache_, .last_only = true}).logits.value(); };
  if (model_.device() == Device::cuda && ids.size() == 1)
    graph_.run(step);
  else
    step();
  logits = logits.to(Device::cpu);
  logits_.resize(static_cast<size_t>(logits.count()));
  with_float_type(logits.dtype(), [&]<class T>() {
    std::transform(logits.data<T>(), logits.data<T>() + logits.count(), logits_.begin(),
                   [](T x) { return static_cast<float>(x); });
  });
  return logits_;
}

StopFilter::StopFilter(std::vector<std::string> stop) : stop_(std::move(stop)) {
  for (const std::string& s : stop_) check(!s.empty(), "--stop \"\": must not be empty, for that is found at once");
}

std::string StopFilter::push(std::string_view piece) {
  if (stopped_) return {};
  held_ += piece;
  size_t first = std::string::npos, end = std::string::npos;
  for (const std::string& stop : stop_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos || at + stop.size() > end) continue;
    if (at + stop.size() < end || at < first) first = at, end = at + stop.size();
  }
  stopped_ = end != std::string::npos;
  // Without a stop string in it, the text is certain up to the first place from which one may still grow.
  for (size_t at = stopped_ ? first : 0; !stopped_ && at < held_.size() && first == std::string::npos; ++at) {
    const std::string_view rest = std::string_view(held_).substr(at);
    if (std::any_of(stop_.begin(), stop_.end(), [&](const std::string& stop) { return stop.starts_with(rest); }))
      first = at;
  }
  std::string certain = held_.substr(0, first);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopFilter::finish() { return stopped_ ? std::string() : std::exchange(held_, {}); }

Generated generate(Transformer& model, const Tokenizer& tokenizer, std::string_view prompt,
                   const GenerateConfig& config, const std::function<void(std::string_view)>& on_text) {
  const int vocab = tokenizer.vocab_size(), context = model.config().context;
  check(vocab <= model.config().vocab, "a tokenizer of {} tokens: the model's vocabulary has {}", vocab,
        model.config().vocab);
  Sampler sampler(config.sampler);
  StopFilter filter(config.stop);
  Utf8Stream utf8;
  std::vector<int32_t> ids = tokenizer.encode(prompt);
  if (ids.empty()) ids.push_back(tokenizer.end_id());
  Decoder decoder(model, std::min<int64_t>(context, static_cast<int64_t>(ids.size()) + config.max_tokens));

  Generated result;
  const auto give = [&](const std::string& text) {
    result.text += text;
    if (on_text && !text.empty()) on_text(text);
  };
  const Clock::time_point begin = Clock::now();
  std::span<const float> logits = decoder.feed(ids);
  result.prompt_tokens = decoder.length();
  result.prompt_seconds = seconds_since(begin);
  const Clock::time_point first_draw = Clock::now();
  int64_t steps = 0;
  while (result.tokens < config.max_tokens) {
    if (config.cancel && *config.cancel) {
      result.reason = StopReason::cancelled;
      break;
    }
    if (result.tokens > 0) logits = decoder.feed({&ids.back(), 1}), ++steps;
    const int32_t id = sampler.sample(logits.first(static_cast<size_t>(vocab)), ids);
    if (id == tokenizer.end_id()) {
      result.reason = StopReason::end_token;
      break;
    }
    //@begin give
    ids.push_back(id), result.ids.push_back(id), ++result.tokens;
    give(filter.push(utf8.push(tokenizer.bytes_of(id))));
    //@end give
    if (filter.stopped()) {
      result.reason = StopReason::stop_string;
      break;
    }
  }
  give(filter.push(utf8.finish()));
  give(filter.finish());
  if (filter.stopped()) result.reason = StopReason::stop_string;
  result.seconds = seconds_since(first_draw);
  result.tokens_per_second = steps ? double(steps) / result.seconds : 0;
  return result;
}

}  // namespace switchyard
