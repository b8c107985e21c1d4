import Training

extension RecipeKey {
  /// The keys that a method has besides those of all methods.
  static func methodKeys(_ method: TrainingMethod.Name) -> [RecipeKey] {
    switch method {
    case .sft: sftKeys + routerKeys
    case .dpo:
      preferenceKeys + dpoKeys + precomputedReferenceKeys + syncedReferenceKeys + routerKeys + refusedPreferenceKeys
    case .orpo: preferenceKeys + orpoKeys + refusedPreferenceKeys
    case .cpo: preferenceKeys + cpoKeys + refusedPreferenceKeys
    case .kto:
      preferenceKeys + ktoKeys + precomputedReferenceKeys + syncedReferenceKeys + routerKeys + refusedPreferenceKeys
    case .grpo: grpoKeys + syncedReferenceKeys + routerKeys + refusedGRPOKeys
    case .reward: preferenceKeys + rewardKeys + refusedScoringKeys
    case .classify: classifyKeys + refusedScoringKeys
    }
  }

  private static let sftKeys: [RecipeKey] = [
    .honored("dataset_text_field", .sft, \.training.preparation.textField, "The column with plain text."),
    .honored("packing", .sft, \.packs, "Pack several rows into one sequence of `max_length` tokens."),
    .honored(
      "packing_strategy", .sft, \.packingStrategy,
      "Best-fit decreasing, with overlong rows truncated (`bfd`) or split (`bfd_split`); or all rows concatenated and cut "
        + "into equal lengths (`wrapped`)."),
    .honored(
      "eval_packing", .sft, \.packsValidation, "Whether to pack the validation rows; null for the same as `packing`."),
    .honored(
      "completion_only_loss", .sft, \.training.preparation.completionOnlyLoss,
      "Compute the loss on completions only; null to do so if the rows have a `prompt`."),
    .honored(
      "assistant_only_loss", .sft, \.training.preparation.assistantOnlyLoss,
      "Compute the loss on assistant turns only."),
    .honored(
      "loss_type", .sft, \.training.lossType,
      "The loss: negative log-likelihood (`nll` and `chunked_nll` are the same here), or dynamic fine-tuning (`dft`)."),
    .honored(
      "label_smoothing_factor", .sft, \.training.labelSmoothing, .within(0..<1),
      "The fraction of each target's probability to spread over the vocabulary during training."),
    .honored(
      "teacher_model_name_or_path", .sft, \.teacher,
      "Learn the predictions of this teacher for the trained tokens, instead of the tokens: a folder, a GGUF file or "
        + "`org/name` with the same tokenizer."),
    .honored(
      "teacher_model_revision", .sft, \.distillation.teacherRevision, "The teacher's branch, tag or commit."),
    .honored(
      "beta", .sft, \.distillation.beta, .within(0...1),
      "The divergence from the teacher: forward KL (0), reverse KL (1), or a generalized Jensen-Shannon divergence."),
    .honored(
      "temperature", .sft, \.distillation.temperature, .above(0), "Divides the logits of teacher and model in the loss."
    ),
    .refused(
      "lmbda", .sft, harmless: ["0", "0.0"], "the model learns from the rows, not from completions of its own; use 0"),
    .refused(
      "seq_kd", .sft, harmless: ["false"], "the teacher completes no rows; complete them with swiftlet generate"),
    .refused("teacher_model_init_kwargs", .sft, "the teacher's weights stay as stored"),
  ]

  /// Keys of the methods whose trainers in TRL add the auxiliary loss of routers by themselves.
  private static let routerKeys: [RecipeKey] = [
    .honored(
      "router_aux_loss_coef", .optimization, \.training.routerLossCoefficient, .orNull(.atLeast(0)),
      "In `sft`, `dpo`, `kto` and `grpo` of a mixture of experts: the weight of the auxiliary loss that keeps experts equally "
        + "busy; null for the one in the model's configuration (0.001 if it has none), 0 for no such loss.")
  ]

  /// Keys of all methods that learn from preferences.
  private static let preferenceKeys: [RecipeKey] = [
    .honored("disable_dropout", .preferences, \.training.disablesDropout, "Switch `lora_dropout` off in training.")
  ]

  private static let dpoKeys: [RecipeKey] = [
    .honored(
      "loss_type", .dpo, \.dpo.lossTypes, .nonempty, "The loss, or several that are added with `loss_weights`."),
    .honored("loss_weights", .dpo, \.dpo.lossWeights, "The weight of each loss; null for 1."),
    .honored(
      "beta", .dpo, \.dpo.beta, .above(0),
      "Larger values keep the model closer to the reference; tau of the loss `ipo`."),
    .honored(
      "label_smoothing", .dpo, \.dpo.labelSmoothing, .within(0..<1),
      "The share of flipped labels that `robust` and `exo_pair` assume; smooths the labels of `aot` and `aot_unpaired`."
    ),
    .honored("f_divergence_type", .dpo, \.dpo.divergence, "The divergence that keeps the model near the reference."),
    .honored(
      "f_alpha_divergence_coef", .dpo, \.dpo.alphaDivergenceCoefficient, "The coefficient of `alpha_divergence`."),
    .honored(
      "ld_alpha", .dpo, \.dpo.lengthDesensitization, .orNull(.within(0...1)),
      "The weight of tokens beyond the length of the pair's shorter completion (LD-DPO); null for 1."),
    .honored("use_weighting", .dpo, \.dpo.usesWeighting, "Weight pairs by the model's own probability of them (WPO)."),
    .honored("discopop_tau", .dpo, \.dpo.discopopTemperature, .above(0), "The temperature of the loss `discopop`."),
  ]

  private static let orpoKeys: [RecipeKey] = [
    .honored("beta", .orpo, \.orpo.beta, .atLeast(0), "The weight of the odds ratio beside the likelihood.")
  ]

  private static let cpoKeys: [RecipeKey] = [
    .honored("loss_type", .cpo, \.cpo.lossType, "The loss; `simpo` with `cpo_alpha: 0` is SimPO."),
    .honored("beta", .cpo, \.cpo.beta, .above(0), "Scales the difference of the log-probabilities; tau of `ipo`."),
    .honored(
      "label_smoothing", .cpo, \.cpo.labelSmoothing, .within(0..<1), "The share of labels taken to be flipped."),
    .honored(
      "cpo_alpha", .cpo, \.cpo.likelihoodWeight, .atLeast(0), "The weight of the chosen completions' likelihood."),
    .honored("simpo_gamma", .cpo, \.cpo.simPOMargin, "The margin of the loss `simpo`."),
    .honored("alpha", .cpo, \.cpo.alpha, "The exponent of AlphaPO's reward; 0 for log-probabilities."),
  ]

  private static let ktoKeys: [RecipeKey] = [
    .honored("loss_type", .kto, \.kto.lossType, "The loss; `apo_zero_unpaired` does without the divergence."),
    .honored("beta", .kto, \.kto.beta, .above(0), "Larger values keep the model closer to the reference."),
    .honored("desirable_weight", .kto, \.kto.desirableWeight, .atLeast(0), "The weight of desirable completions."),
    .honored(
      "undesirable_weight", .kto, \.kto.undesirableWeight, .atLeast(0), "The weight of undesirable completions."),
  ]

  private static let rewardKeys: [RecipeKey] = [
    .honored(
      "center_rewards_coefficient", .reward, \.reward.centering, .orNull(.atLeast(0)),
      "The weight of the squared sum of both rewards of a pair, which keeps rewards around zero; null for none.")
  ]

  private static let classifyKeys: [RecipeKey] = [
    .honored(
      "dataset_text_field", .classify, \.training.preparation.textField,
      "The column with the text, unless the rows have `messages`. The column `label` has the name or number of the label."
    ),
    .honored(
      "num_labels", .classify, \.classification.labelCount, .orNull(.atLeast(2)),
      "The number of labels; null for as many as the training rows have."),
    .honored(
      "id2label", .classify, \.classLabels,
      "The names of the labels in the order of their numbers; null for those in the training rows, sorted."),
    .refused(
      "problem_type", .classify, harmless: ["single_label_classification"],
      "regression and multi_label_classification are not supported; give each row one label"),
    .refused("label2id", .classify, "use id2label, which says the same"),
  ]

  private static let refusedScoringKeys: [RecipeKey] = [
    .refused(
      "label_smoothing_factor", .other, harmless: ["0", "0.0"], "it smooths the targets of sft; leave it out"),
    .refused(
      "lora_task_type", .lora, harmless: ["seq_cls", "tasktype.seq_cls"],
      "the head is always trained and saved with the adapter; use SEQ_CLS"),
  ]

  /// What only methods with given completions can compute before training.
  private static let precomputedReferenceKeys: [RecipeKey] = [
    .honored(
      "precompute_ref_log_probs", .reference, \.reference.isPrecomputed,
      "Compute the reference's log-probabilities of all rows before training. If every weight is trained, this saves a "
        + "copy of the weights."),
    .honored(
      "precompute_ref_batch_size", .reference, \.reference.precomputeBatchSize,
      .orNull(.within(1...1_000_000)),
      "Rows per batch in that computation; null for the batch size of training or evaluation."),
  ]

  /// How the reference model is used.
  private static let syncedReferenceKeys: [RecipeKey] = [
    .honored(
      "sync_ref_model", .reference, \.reference.isSynced,
      "Move the reference toward the model during the run (TR-DPO); only if every weight is trained."),
    .honored(
      "ref_model_mixup_alpha", .reference, \.reference.mixup, .within(0...1),
      "The share of the model in the new reference."),
    .honored(
      "ref_model_sync_steps", .reference, \.reference.syncSteps, .atLeast(1),
      "Optimizer steps between these moves."),
  ]

  private static let refusedPreferenceKeys: [RecipeKey] = [
    .refused(
      "label_smoothing_factor", .preferences, harmless: ["0", "0.0"],
      "it smooths the targets of sft; use label_smoothing"),
    .refused("reference_free", .preferences, "use orpo or cpo, which need no reference"),
    .refused("generate_during_eval", .preferences, "use questions"),
    .refused("is_encoder_decoder", .preferences, "only decoder models are supported"),
    .refused("rpo_alpha", .preferences, "use loss_type: [sigmoid, sft] with loss_weights: [1, rpo_alpha]"),
    .refused("max_prompt_length", .preferences, "use max_length, which limits prompt and completion together"),
    .refused("max_completion_length", .preferences, "use max_length, which limits prompt and completion together"),
  ]
}

extension RecipeBound where Value: Collection {
  static var nonempty: RecipeBound { RecipeBound(expectation: "at least one") { !$0.isEmpty } }
}
