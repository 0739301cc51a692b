#include "train/trainer.h"

#include "moe/checkpoint.h"

namespace switchyard {
namespace {

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
      optimizer_(model_, config_.train) {
  config_.model = model_.config();
  if (resume) {
    folder_.load(model_, optimizer_);
  } else {
    model_.see_text(data_.occurrences());
    if (!config_.start.empty()) load_weights(config_.start, model_);
  }
}

StepNumbers Trainer::step() {
  const TrainConfig& c = config_.train;
  const int64_t step = optimizer_.steps(), T = config_.model.context;
  StepNumbers numbers{.step = step + 1, .tokens = int64_t{c.batch} * c.accumulate * T};
  std::vector<PassNumbers> passes;
  for (int64_t i = 0; i < c.accumulate; ++i) {
    const int64_t number = step * c.accumulate + i;
    Pass pass{.training = true, .seed = c.seed, .next_stream = static_cast<uint64_t>(number) << 16};
    const Batch batch = data_.batch(number, c.batch, T, c.seed);
    ForwardResult f = model_(batch.tokens, {.pass = &pass});
    if (config_.beside) f.aux.push_back(config_.beside(batch, f.logits));
    //@begin total
    const Tensor targets = batch.targets.to(config_.device);
    const Var loss = mean(cross_entropy(f.logits, targets));
    Var total = loss;
    for (const AuxTerm& term : f.aux) {
      const Var weighted = scale(term.value, term.coefficient);
      total = add(total, weighted);
    }
    backward(total);
    //@end total
    passes.push_back(measure(f, loss));
  }
  //@begin update
  numbers.rate = learning_rate(c, step);
  optimizer_.step(numbers.rate, c.accumulate);
  //@end update
  std::vector<std::vector<int64_t>> load;
  for (const PassNumbers& pass : passes) collect(pass, c.accumulate, numbers, load);
  numbers.gradient_norm = optimizer_.gradient_norm();
  model_.after_step(load);
  return numbers;
}

Evaluation Trainer::run(const std::atomic<bool>& stop, Report& report) {
  const TrainConfig& c = config_.train;
  Evaluation evaluation;
  while (optimizer_.steps() < c.steps && !stop) {
    const StepNumbers numbers = step();
    const auto every = [&](int64_t n) { return numbers.step % n == 0 || numbers.step == c.steps; };
    report.step(numbers, every(c.log_every) || numbers.step == 1);
    if (every(c.eval_every)) {
      evaluation = evaluate(numbers.step == c.steps);
      report.evaluation(numbers.step, evaluation);
    }
    if (every(c.sample_every)) report.sample(numbers.step, sample());
    if (every(c.checkpoint_every) || stop) folder_.save(config_, model_, data_.tokenizer(), optimizer_);
    report.resume_clock();
  }
  return evaluation;
}

Evaluation Trainer::evaluate(bool last) {
  const int64_t tokens = config_.train.eval_tokens;
  if (config_.source.built_in())
    return evaluate_documents(model_, data_.tokenizer(), built_in_corpus(config_.train), first_validation_document,
                              tokens);
  return evaluate_windows(model_, data_, last ? data_.validation_tokens() : tokens);
}

std::string Trainer::sample() {
  if (!model_.causal()) return "(this router needs the whole text at once, so the model cannot write)";
  GenerateConfig generation{.max_tokens = config_.model.context - 1, .stop = {}, .sampler = {}, .cancel = nullptr};
  generation.sampler.temperature = 0.8;
  generation.sampler.seed = config_.train.seed + static_cast<uint64_t>(optimizer_.steps());
  return generate(model_, data_.tokenizer(), "", generation).text;
}

}  // namespace switchyard
