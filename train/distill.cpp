#include "train/distill.h"

#include <map>

#include "moe/checkpoint.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

std::map<std::string, Tensor> parameters_by_name(Transformer& model) {
  std::map<std::string, Tensor> all;
  model.visit([&](const std::string& name, Var& p) { all[name] = p.value(); });
  return all;
}

// `source`, so many times as it takes to fill `target`, a multiple of it.
Tensor repeated(const Tensor& source, const Shape& target) {
  std::vector<double> values;
  const std::vector<double> once = source.values();
  for (int64_t i = 0; i < target.count() / source.count(); ++i) values.insert(values.end(), once.begin(), once.end());
  return Tensor::from(values, target, source.dtype()).to(source.device());
}

RunConfig begun_with(RunConfig config, Transformer& model) {
  config.start = config.out / "start";
  save_model(config.start, model);
  return config;
}

}  // namespace

Var soft_cross_entropy(const Var& logits, const Tensor& q) {
  const int64_t rows = logits.shape().rows(), V = logits.value().cols();
  const Var wide_logits = cast(logits, wide(logits.dtype()));
  // A row's sum is its product with ones.
  const Var ones(Tensor::full({1, V}, 1, wide_logits.dtype(), logits.value().device()));
  const Var weighted = reshape(linear(multiply(wide_logits, Var(q)), ones), {rows});
  //@begin soft
  return add(logsumexp(wide_logits), scale(weighted, -1));
  //@end soft
}

//@begin probabilities
Tensor probabilities(Transformer& model, const Tensor& tokens) {
  const NoGrad no_grad;
  const Var logits = model(tokens).logits;
  return softmax(cast(logits, wide(logits.dtype())).value());
}
//@end probabilities

std::function<AuxTerm(const Batch&, const Var&)> taught_by(const Teacher& teacher, const Transformer& student) {
  const auto model = std::make_shared<Transformer>(load_model(teacher.dir, student.dtype(), student.device()));
  const int has = model->config().vocab, needs = student.config().vocab;
  check(has == needs, "teacher {}: its vocabulary is {}, the student's {}; they need one tokenizer",
        teacher.dir.string(), has, needs);
  return [model, share = teacher.share](const Batch& batch, const Var& logits) {
    const Tensor targets = batch.targets.to(logits.value().device());
    const Var soft = mean(soft_cross_entropy(logits, probabilities(*model, batch.tokens)));
    //@begin soft-less-hard
    const Var hard = mean(cross_entropy(logits, targets));
    return AuxTerm{"soft_less_hard", add(soft, scale(hard, -1)), share};
    //@end soft-less-hard
  };
}

int64_t copy_common_weights(Transformer& from, Transformer& to, std::string_view except) {
  //@begin copy-common
  const std::map<std::string, Tensor> source = parameters_by_name(from);
  int64_t copied = 0;
  to.visit([&](const std::string& name, Var& p) {
    const auto found = source.find(name);
    if (found == source.end() || found->second.shape() != p.shape()) return;
    if (!except.empty() && name.find(except) != name.npos) return;
    p.set_value(found->second.clone());
    copied += p.value().count();
  });
  //@end copy-common
  return copied;
}

Transformer upcycled(Transformer& dense, const ModelConfig& config, uint64_t seed) {
  Transformer model(config, seed, dense.dtype(), dense.device());
  const std::map<std::string, Tensor> source = parameters_by_name(dense);
  model.visit([&](const std::string& name, Var& p) {
    if (name.find(".router.") != std::string::npos) return;
    // layers.0.moe.experts.in (E, 2F, C) is E times layers.0.mlp.in.weight (2F, C).
    //@begin copied-from
    std::string old = name;
    if (const size_t at = name.find("moe.experts."); at != std::string::npos)
      old = name.substr(0, at) + "mlp." + name.substr(at + 12) + ".weight";
    const auto found = source.find(old);
    //@end copied-from
    check(found != source.end(), "{}: the dense model has no {} to copy it from", name, old);
    const Shape one = found->second.shape(), all = p.shape();
    check(one == all || (all.rank() == 3 && one == Shape{all[1], all[2]}), "{} {}: the dense model's {} is {}", name,
          all.text(), old, one.text());
    p.set_value(repeated(found->second, all));
  });
  return model;
}

RunConfig begun_as_student(RunConfig config, const fs::path& dir) {
  //@begin begun-as-student
  Transformer teacher = load_model(dir);
  ModelConfig c = config.model;
  c.vocab = teacher.config().vocab;
  Transformer student(c, config.train.seed);
  const int64_t copied = copy_common_weights(teacher, student, ".mlp.");
  //@end begun-as-student
  check(copied > 0, "{}: no weight fits; its --width is {}, not {}", dir.string(), teacher.config().width, c.width);
  return begun_with(std::move(config), student);
}

RunConfig begun_as_mixture(RunConfig config, const fs::path& dir) {
  Transformer dense = load_model(dir);
  ModelConfig c = config.model;
  c.vocab = dense.config().vocab;
  Transformer mixture = upcycled(dense, c, config.train.seed);
  return begun_with(std::move(config), mixture);
}

}  // namespace switchyard
