#include "train/trainer.h"

#include "moe/checkpoint.h"
#include "train/distill.h"
#include "train/freeze.h"

namespace switchyard {
namespace {

constexpr int most_spikes = 20;  // one after the other; then the weights are the trouble, not the batches

ModelConfig with_vocab(ModelConfig model, const Tokenizer& tokenizer) {
  model.vocab = tokenizer.vocab_size();
  return model;
}

// What a pass tells, where the device has left it: reading it waits for the device, so that is done after the step.
//@begin pass-numbers
struct PassNumbers {
  Tensor loss;
  std::vector<AuxTerm> aux;  // values alone
  std::vector<RouteCounts> routes;
};
//@end pass-numbers

PassNumbers measure(const ForwardResult& f, const Var& loss) {
  PassNumbers pass{.loss = loss.value(), .aux = {}, .routes = {}};
  for (const AuxTerm& term : f.aux) pass.aux.push_back({term.name, Var(term.value.value()), term.coefficient});
  for (const Route& route : f.routes) pass.routes.push_back(measure(route.plan, route.probability));
  return pass;
}

// Adds a pass to the step's numbers: means of the losses, statistics of the last pass, and the proposals of each
// layer's experts over all passes.
void collect(const PassNumbers& pass, int64_t passes, StepNumbers& numbers, std::vector<std::vector<int64_t>>& load) {
  numbers.loss += pass.loss.item() / double(passes);
  numbers.aux.resize(pass.aux.size());
  for (size_t i = 0; i < pass.aux.size(); ++i) {
    numbers.aux[i].first = pass.aux[i].name;
    numbers.aux[i].second += pass.aux[i].value.value().item() / double(passes);
  }
  numbers.layers.clear();
  load.resize(pass.routes.size());
  for (size_t layer = 0; layer < pass.routes.size(); ++layer) {
    numbers.layers.push_back(read(pass.routes[layer]));
    const std::vector<int64_t>& seen = numbers.layers.back().load;
    load[layer].resize(seen.size());
    for (size_t e = 0; e < seen.size(); ++e) load[layer][e] += seen[e];
  }
}

}  // namespace

Trainer::Trainer(RunConfig config, bool resume)
    : config_(std::move(config)),
      folder_(config_.out, resume),
      data_(config_.source, config_.train, config_.model.context, config_.out),
      model_(with_vocab(config_.model, data_.tokenizer()), config_.train.seed, dtype_of(config_.train.compute),
             config_.device),
      optimizer_(frozen(model_, config_.freeze), config_.train),
      history_{SpikeWatch(config_.train.spike)} {
  config_.model = model_.config(), config_.source.tokens = data_.tokens_name();
  if (config_.teacher) config_.beside = taught_by(*config_.teacher, model_);
  if (resume) {
    folder_.load(model_, optimizer_, history_);
  } else {
    model_.see_text(data_.occurrences());
    if (!config_.start.empty()) load_weights(config_.start, model_);
  }
}

Trainer::Forward Trainer::forward(int64_t number, int64_t B) {
  const TrainConfig& c = config_.train;
  Pass pass{.training = true, .seed = c.seed, .next_stream = static_cast<uint64_t>(number) << 16};
  const Batch batch = data_.batch(number, B, config_.model.context, c.seed);
  ForwardResult f = model_(batch.tokens, {.pass = &pass});
  if (config_.beside) f.aux.push_back(config_.beside(batch, f.logits));
  //@begin total
  const Tensor targets = batch.targets.to(config_.device);
  const Var each = cross_entropy(f.logits, targets);
  const Var loss = scale(sum(each), batch.per_target());
  Var total = loss;
  for (const AuxTerm& term : f.aux) {
    const Var weighted = scale(term.value, term.coefficient);
    total = add(total, weighted);
  }
  //@end total
  return {std::move(f), loss, total};
}

StepNumbers Trainer::step(Report& report) {
  const TrainConfig& c = config_.train;
  const int64_t step = optimizer_.steps();
  StepNumbers numbers{.step = step + 1, .tokens = int64_t{c.batch} * c.accumulate * config_.model.context};
  std::vector<PassNumbers> passes;
  double first_norm = 0;  // of the first pass's gradient
  for (int64_t i = 0; i < c.accumulate; ++i) {
    const Forward f = forward(step * c.accumulate + i, c.batch);
    backward(f.total);
    passes.push_back(measure(f.result, f.loss));
    if (c.gradient_noise && i == 0) optimizer_.measure(1), first_norm = optimizer_.gradient_norm();
  }
  optimizer_.measure(c.accumulate);
  std::vector<std::vector<int64_t>> load;
  for (const PassNumbers& pass : passes) collect(pass, c.accumulate, numbers, load);
  numbers.rate = learning_rate(c, step);
  numbers.gradient_norm = optimizer_.gradient_norm();
  const std::optional<std::string> wrong = history_.losses.judge(numbers.loss, numbers.gradient_norm);
  if (wrong && !accept_spike(*wrong, numbers, report)) return numbers;
  if (c.gradient_noise) {
    history_.noise.add(first_norm, c.batch, numbers.gradient_norm, int64_t{c.batch} * c.accumulate);
    numbers.noise_scale = history_.noise.scale();
  }
  //@begin update
  optimizer_.update(numbers.rate);
  model_.after_step(load);
  //@end update
  return numbers;
}

bool Trainer::accept_spike(const std::string& wrong, const StepNumbers& numbers, Report& report) {
  const OnSpike choice = config_.train.on_spike;
  const bool first = numbers.step != last_spike_ + 1;  // what follows a spike at once is of the same making
  spikes_ = first ? 1 : spikes_ + 1, last_spike_ = numbers.step;
  report.event(numbers.step, fmt::format("step {}: {}{}", numbers.step, wrong,
                                         choice == OnSpike::skip ? "; the step is left out" : ""));
  if (first) {
    try {
      folder_.save_snapshot("spike", config_, model_, data_.tokenizer(), optimizer_, history_);
    } catch (const Error& error) {
      report.event(numbers.step, fmt::format("step {}: no snapshot: {}", numbers.step, error.what()));
    }
  }
  if (choice == OnSpike::stop || (choice == OnSpike::skip && spikes_ == most_spikes))
    throw Diverged(fmt::format("step {}: {}; ./run replay {} shows it; {} {}", numbers.step, wrong,
                               (config_.out / "spike").string(),
                               folder_.has_checkpoint() ? "go on from the last checkpoint with --resume and"
                                                        : "there is no checkpoint yet: begin again with",
                               choice == OnSpike::stop ? "--on-spike skip, or a lower --rate" : "a lower --rate"));
  if (choice == OnSpike::skip) optimizer_.skip();
  if (choice == OnSpike::go_on) history_.losses.keep(numbers.loss);
  return choice == OnSpike::go_on;
}

Evaluation Trainer::run(const std::atomic<bool>& stop, Report& report) {
  const TrainConfig& c = config_.train;
  Evaluation evaluation;
  if (!folder_.complaint().empty()) report.event(steps_done(), folder_.complaint());
  while (optimizer_.steps() < c.steps && !stop) {
    const StepNumbers numbers = step(report);
    const auto every = [&](int64_t n) { return numbers.step % n == 0 || numbers.step == c.steps; };
    report.step(numbers, every(c.log_every) || numbers.step == 1);
    if (every(c.eval_every) && (config_.source.built_in() || data_.validation_tokens() > 0)) {
      const bool all = numbers.step == c.steps && !config_.source.built_in();
      const int64_t tokens = all ? data_.validation_tokens() : c.eval_tokens;
      report.evaluation(numbers.step, evaluation = evaluate(tokens));
      if (c.average) optimizer_.with_average([&] { report.average(numbers.step, evaluate(tokens)); });
    }
    if (every(c.sample_every)) report.sample(numbers.step, sample(config_.model.context - 1));
    if (every(c.checkpoint_every) || stop) folder_.save(config_, model_, data_.tokenizer(), optimizer_, history_);
    report.resume_clock();
  }
  return evaluation;
}

Evaluation Trainer::evaluate(int64_t tokens) {
  if (config_.source.built_in())
    return evaluate_documents(model_, data_.tokenizer(), built_in_corpus(config_.train), first_validation_document,
                              tokens);
  return evaluate_windows(model_, data_, tokens);
}

std::string Trainer::sample(int64_t tokens) {
  const auto step = static_cast<uint64_t>(optimizer_.steps());
  return written(model_, data_.tokenizer(), data_.prompt(optimizer_.steps()), tokens, config_.train.seed + step);
}

}  // namespace switchyard
