import Training

extension RecipeKey {
  /// The keys that a method has besides those of all methods.
  static func methodKeys(_ method: TrainingMethod.Name) -> [RecipeKey] {
    switch method {
    case .sft: sftKeys
    case .dpo: preferenceKeys + dpoKeys + refusedPreferenceKeys
    }
  }

  private static let sftKeys: [RecipeKey] = [
    .honored("dataset_text_field", .sft, \.training.preparation.textField, "The column that contains plain text."),
    .honored("packing", .sft, \.packs, "Pack several rows into one sequence of `max_length` tokens."),
    .honored(
      "packing_strategy", .sft, \.packingStrategy,
      "Best-fit decreasing, where longer rows are truncated (`bfd`) or split (`bfd_split`); or all rows joined and cut "
        + "(`wrapped`)."),
    .honored("eval_packing", .sft, \.packsValidation, "Pack validation rows; null to use `packing`."),
    .honored(
      "completion_only_loss", .sft, \.training.preparation.completionOnlyLoss,
      "Compute the loss on completions only; null to do so for rows that have a `prompt`."),
    .honored(
      "assistant_only_loss", .sft, \.training.preparation.assistantOnlyLoss,
      "Compute the loss on assistant turns only."),
    .honored("loss_type", .sft, \.training.lossType, "The loss; `nll` and `chunked_nll` are the same."),
    .honored(
      "label_smoothing_factor", .sft, \.training.labelSmoothing, .within(0..<1),
      "The share of each target's probability that is spread over the vocabulary, in training."),
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
    .honored(
      "precompute_ref_log_probs", .dpo, \.dpo.precomputesReference,
      "Compute the reference's log-probabilities of all rows before training. If every weight is trained, this saves a "
        + "copy of the weights."),
    .honored(
      "precompute_ref_batch_size", .dpo, \.dpo.precomputeBatchSize, .orNull(.within(1...1_000_000)),
      "Rows per batch in that computation; null for the batch size of training or evaluation."),
    .honored(
      "sync_ref_model", .dpo, \.dpo.syncsReference,
      "Move the reference toward the model during the run (TR-DPO); only if every weight is trained."),
    .honored(
      "ref_model_mixup_alpha", .dpo, \.dpo.referenceMixup, .within(0...1),
      "The share of the model in the new reference."),
    .honored(
      "ref_model_sync_steps", .dpo, \.dpo.referenceSyncSteps, .atLeast(1), "Optimizer steps between these moves."),
  ]

  private static let refusedPreferenceKeys: [RecipeKey] = [
    .refused(
      "label_smoothing_factor", .preferences, harmless: ["0", "0.0"], "it smooths the targets of sft; use label_smoothing"),
    .refused("reference_free", .preferences, "use orpo or cpo, which need no reference"),
    .refused("rpo_alpha", .preferences, "use loss_type: [sigmoid, sft] with loss_weights: [1, rpo_alpha]"),
    .refused("max_prompt_length", .preferences, "use max_length, which limits prompt and completion together"),
    .refused("max_completion_length", .preferences, "use max_length, which limits prompt and completion together"),
  ]
}

extension RecipeBound where Value: Collection {
  static var nonempty: RecipeBound { RecipeBound(expectation: "at least one") { !$0.isEmpty } }
}
