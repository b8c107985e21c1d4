import Training

extension RecipeKey {
  /// The keys of `grpo` that are honored.
  static let grpoKeys: [RecipeKey] = [
    .honored(
      "reward_funcs", .grpo, \.grpo.rewards, .nonempty,
      "The rewards, whose weighted sum counts: `accuracy_reward`, `think_format_reward`, `soft_overlong_punishment`, "
        + "`get_soft_overlong_punishment`, or the command line of a program, such as `./reward.py`."),
    .honored("reward_weights", .grpo, \.grpo.rewardWeights, "The weight of each reward; null for 1."),
    .honored(
      "reward_timeout", .grpo, \.grpo.rewardTimeout, .above(0),
      "How many seconds a reward program may take for the completions that are sampled together."),
    .honored(
      "scale_rewards", .grpo, \.grpo.rewardScaling,
      "Divide the differences between rewards by the standard deviation of the `group` (or true) or of the `batch`; "
        + "`none` or false not to."),
    .honored(
      "num_generations", .grpo, \.grpo.generations, .within(2...65_536), "Completions per prompt: the size of a group."),
    .honored(
      "num_generations_eval", .grpo, \.grpo.validationGenerations, .orNull(.within(1...65_536)),
      "Completions per prompt in evaluations; null for `num_generations`."),
    .honored(
      "max_completion_length", .grpo, \.grpo.maxCompletionLength, .within(1...1_000_000),
      "The most tokens of a completion."),
    .honored("temperature", .grpo, \.grpo.sampling.temperature, .above(0), "The temperature of the completions."),
    .honored(
      "top_p", .grpo, \.grpo.sampling.topP, .within(0...1),
      "Sample among the most likely tokens whose probabilities add up to this."),
    .honored("top_k", .grpo, \.grpo.sampling.topK, .atLeast(0), "Sample among this many tokens; 0 for all."),
    .honored(
      "min_p", .grpo, \.minimumProbability, .orNull(.within(0...1)),
      "Sample among tokens with at least this share of the most likely one's probability; null for all."),
    .honored(
      "repetition_penalty", .grpo, \.grpo.sampling.repetitionPenalty, .above(0),
      "Above 1, make tokens of the prompt and of the completion so far less likely."),
    .honored(
      "steps_per_generation", .grpo, \.grpo.stepsPerGeneration, .orNull(.within(1...1_000_000)),
      "Batches whose completions are sampled together; null for `gradient_accumulation_steps`."),
    .honored(
      "generation_batch_size", .grpo, \.grpo.generationBatchSize, .orNull(.atLeast(1)),
      "Completions that are sampled together, instead of `steps_per_generation`."),
    .honored(
      "num_iterations", .grpo, \.grpo.iterations, .within(1...1_000_000),
      "How often completions are trained on before others are sampled."),
    .honored(
      "loss_type", .grpo, \.grpo.lossType,
      "How tokens are averaged: over those of each completion (`grpo`), of a batch (`bnpo`), or of all completions that "
        + "are sampled together (`dapo`); or their sum is divided by the maximum length (`dr_grpo`)."),
    .honored(
      "beta", .grpo, \.grpo.beta, .atLeast(0),
      "The weight of the divergence from the reference; 0 does without a reference."),
    .honored(
      "use_bias_correction_kl", .grpo, \.grpo.correctsDivergence,
      "Weight the divergence by the ratio of probabilities, so that its gradient is unbiased."),
    .honored(
      "epsilon", .grpo, \.grpo.epsilon, .atLeast(0), "How far the ratio of probabilities may fall below 1 and count."),
    .honored(
      "epsilon_high", .grpo, \.grpo.epsilonHigh, .orNull(.atLeast(0)),
      "How far the ratio may rise above 1 and count; null for `epsilon`."),
    .honored(
      "delta", .grpo, \.grpo.delta, .orNull(.above(0)),
      "The largest ratio that counts where the advantage is negative; null for no limit."),
    .honored(
      "importance_sampling_level", .grpo, \.grpo.importanceSamplingLevel,
      "Whether the ratio is that of a `token` or of the whole `sequence` (GSPO)."),
    .honored(
      "mask_truncated_completions", .grpo, \.grpo.masksTruncated,
      "Leave completions that reached `max_completion_length` out of the loss."),
    .honored("disable_dropout", .grpo, \.training.disablesDropout, "Switch `lora_dropout` off in training."),
  ]

  /// The keys of `grpo` that change nothing here, or are not supported.
  static let refusedGRPOKeys: [RecipeKey] = [
    [
      .refused("label_smoothing_factor", .grpo, harmless: ["0", "0.0"], "it smooths the targets of sft"),
      .refused("reward_model_name_or_path", .grpo, "use a program in reward_funcs that runs the model"),
      .refused("generation_kwargs", .grpo, "use temperature, top_p, top_k, min_p and repetition_penalty"),
      .refused("chat_template_kwargs", .grpo, "give rows a column chat_template_kwargs"),
      .refused("max_prompt_length", .grpo, "use max_length, which drops rows with longer prompts"),
      .refused(
        "multi_objective_aggregation", .grpo, harmless: ["sum_then_normalize"], "rewards are added up, then normalized"),
      .refused("top_entropy_quantile", .grpo, harmless: ["1", "1.0"], "all tokens of a completion count"),
      .refused("entropy_coef", .grpo, harmless: ["0", "0.0"], "there is no bonus for entropy"),
      .refused("use_adaptive_entropy", .grpo, "there is no bonus for entropy"),
      .refused("off_policy_mask_threshold", .grpo, "use epsilon, delta or num_iterations: 1"),
      .refused("max_tool_calling_iterations", .grpo, "completions call no tools"),
      .refused("log_completions", .grpo, "use questions, or let a reward program write what it reads"),
      .refused("log_completions_hub_repo", .grpo, "nothing is uploaded"),
      .refused("use_vllm", .grpo, "completions are sampled by Swiftlet itself"),
      .refused("use_transformers_continuous_batching", .grpo, "completions are always sampled in batches"),
      .refused("use_transformers_paged", .grpo, "completions are always sampled in batches"),
    ],
    idle(
      "there is no bonus for entropy", "entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
    idle(
      "it belongs to a loss_type that is not supported", "sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_pos",
      "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"),
    idle(
      "completions are sampled by Swiftlet itself", "vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode",
      "vllm_structured_outputs_regex", "vllm_server_base_url", "vllm_server_host", "vllm_server_port",
      "vllm_server_timeout", "vllm_group_port", "vllm_gpu_memory_utilization", "vllm_max_model_length",
      "vllm_tensor_parallel_size", "vllm_importance_sampling_correction", "vllm_importance_sampling_mode",
      "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min", "vllm_importance_sampling_cap",
      "cache_implementation", "ds3_gather_for_generation", "transformers_continuous_batching_config"),
    idle("completions are not logged", "log_multimodal", "num_completions_to_print", "log_unique_prompts"),
    idle("logits are always float32", "cast_lm_head_to_fp32"),
  ].flatMap(\.self)
}
