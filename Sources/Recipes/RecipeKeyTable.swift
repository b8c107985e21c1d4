extension RecipeKey {
  /// Every key a recipe may hold, in the order of the documentation.
  public static let all: [RecipeKey] =
    modelKeys + loraKeys + dataKeys + tokenKeys + optimizationKeys + reportKeys + idleKeys + refusedKeys

  /// The keys by name.
  static let byName = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })

  private static let modelKeys: [RecipeKey] = [
    .honored(
      "model_name_or_path", .model, \.model.name, "The base model: a folder, a GGUF file or `org/name`."),
    .honored("model_revision", .model, \.model.revision, "Branch, tag or commit of `org/name`."),
    .honored(
      "dtype", .model, \.training.savedType,
      "The type of the saved weights when every weight is trained; `auto` for the base model's own. Training computes in "
        + "float32, and adapters are saved in float32."),
    .honored(
      "load_in_4bit", .quantization, \.loadsIn4Bit,
      "Quantize the linear layers on loading (QLoRA). A base that is quantized already stays as it is."),
    .honored("bnb_4bit_quant_type", .quantization, \.fourBitType, "The 4-bit code."),
    .honored(
      "use_bnb_nested_quant", .quantization, \.isDoubleQuantized, "Quantize the block scales as well."),
    .honored(
      "llm_int8_skip_modules", .quantization, \.unquantizedModules,
      "Modules that stay as they are (for 4 bits too, despite the name): paths, their ends, or expressions for their start. "
        + "By default the output head; a list of your own has to name `lm_head` too."),
  ]

  private static let loraKeys: [RecipeKey] = [
    .honored("use_peft", .lora, \.usesPEFT, "Train adapters; without it every weight is trained."),
    .honored("lora_r", .lora, \.lora.rank, .within(1...65_536), "The rank."),
    .honored("lora_alpha", .lora, \.lora.alpha, .above(0), "The scale is alpha/r."),
    .honored(
      "lora_dropout", .lora, \.lora.dropout, .within(0..<1), "The share of an adapter's input that is dropped."),
    .honored(
      "lora_target_modules", .lora, \.targetModules,
      "Names, `all-linear`, or an expression for whole paths; by default what PEFT picks for the architecture."),
    .honored("lora_modules_to_save", .lora, \.lora.modulesToSave, "Modules trained whole, saved beside the adapter."),
    .honored(
      "exclude_modules", .lora, \.lora.excludeModules, "Modules without an adapter, though the key above names them."),
    .honored("use_rslora", .lora, \.lora.usesRSLoRA, "Scale by alpha/sqrt(r)."),
    .honored("rank_pattern", .lora, \.rankPatterns, "Ranks of modules whose path ends in a match."),
    .honored("alpha_pattern", .lora, \.alphaPatterns, "Alphas of modules whose path ends in a match."),
    .honored(
      "init_lora_weights", .lora, \.lora.initialization, "How A starts: Kaiming-uniform, or normal. B is zero."),
  ]

  private static let dataKeys: [RecipeKey] = [
    .honored("dataset_name", .data, \.data.datasetName, "The data set: a file, a folder or `org/name`."),
    .honored(
      "dataset_config", .data, \.data.datasetConfig,
      "Its configuration (subset), as its `README.md` describes it, or the folder of this name."),
    .honored(
      "dataset_train_split", .data, \.data.trainSplit,
      "Its split to train on; also a part as `train[:80%]`, or several as `train+validation`. A file is the split `train`."
    ),
    .honored(
      "dataset_test_split", .data, \.data.testSplit, "Its split to evaluate on, if `eval_strategy` asks for it."),
    .honored(
      "datasets", .data, \.data.sources,
      "Several sources, each with `path` or `query`, `name`, `data_dir`, `data_files`, `split`, `columns`, `fraction`, "
        + "`steps`. Joined; or, with fractions, mixed in these shares without repeating a row."),
    .honored(
      "query", .data, \.data.query,
      "SQL instead of `dataset_name`, answered by the DuckDB command line: `SELECT zh, yue FROM 'pairs.parquet'`."),
    .honored("steps", .data, \.data.steps, "What is done to the rows, in order; see below."),
    .honored(
      "test_split_size", .data, \.data.testSplitSize, .orNull(.above(0)),
      "Hold out this share (below 1) or number of rows."),
    .honored("eval_dataset", .data, \.data.evalDataset, "A source to evaluate on."),
    .honored(
      "max_train_samples", .data, \.data.maxTrainSamples, .orNull(.atLeast(1)), "Train on the first rows only."),
    .honored(
      "max_eval_samples", .data, \.data.maxEvalSamples, .orNull(.atLeast(1)), "Evaluate on the first rows only."),
    .honored("dataset_text_field", .data, \.training.preparation.textField, "The column of finished text."),
    .honored("shuffle_dataset", .data, \.shufflesDataset, "Shuffle the rows before packing them."),
    .honored(
      "questions", .data, \.data.questions,
      "Asked before the first step, at each evaluation, and after the last step: a list, or a file of them."),
    .honored("max_new_tokens", .data, \.data.maxNewTokens, .atLeast(1), "The length of those answers."),
  ]

  private static let tokenKeys: [RecipeKey] = [
    .honored(
      "max_length", .tokens, \.training.preparation.maxLength, .orNull(.atLeast(2)), "Tokens a row or pack holds at most."),
    .honored("truncation_mode", .tokens, \.training.preparation.truncation, "Which end of a too long row stays."),
    .honored("packing", .tokens, \.packs, "Lay several rows into one sequence of `max_length` tokens."),
    .honored(
      "packing_strategy", .tokens, \.packingStrategy,
      "Whole rows best fit first, cutting off (`bfd`) or carrying on (`bfd_split`) the excess; or everything joined and "
        + "cut (`wrapped`)."),
    .honored("eval_packing", .tokens, \.packsValidation, "Pack in evaluation; null as `packing`."),
    .honored(
      "completion_only_loss", .tokens, \.training.preparation.completionOnlyLoss,
      "Count the completion's tokens only; null for rows that have a `prompt`."),
    .honored("assistant_only_loss", .tokens, \.training.preparation.assistantOnlyLoss, "Count the assistant's tokens only."),
    .honored("loss_type", .tokens, \.training.lossType, "What is minimized; `nll` and `chunked_nll` are the same."),
    .honored("eos_token", .tokens, \.training.eosToken, "The end token, where it is not the tokenizer's."),
    .honored("pad_token", .tokens, \.training.padToken, "The padding token, where it is not the tokenizer's."),
    .honored(
      "chat_template_path", .tokens, \.training.chatTemplatePath, "A Jinja file, or a model whose template is taken."),
  ]

  private static let optimizationKeys: [RecipeKey] = [
    .honored(
      "per_device_train_batch_size", .optimization, \.training.trainBatchSize, .within(1...1_000_000), "Rows a batch."),
    .honored(
      "gradient_accumulation_steps", .optimization, \.training.gradientAccumulationSteps, .within(1...1_000_000),
      "Batches an optimizer step."),
    .honored("num_train_epochs", .optimization, \.training.epochs, .within(0...1e9), "Passes over the rows."),
    .honored(
      "max_steps", .optimization, \.maxStepsOrMinusOne, .within(-1...1_000_000_000_000),
      "Optimizer steps; -1 for as many as the epochs give."),
    .honored(
      "auto_find_batch_size", .optimization, \.training.findsBatchSize,
      "Make the batch smaller, and the accumulation longer, until the plan fits."),
    .honored("dataloader_drop_last", .optimization, \.training.dropsLastBatch, "Leave out an incomplete last batch."),
    .honored("train_sampling_strategy", .optimization, \.training.samplingStrategy, "The order of rows."),
    .honored("seed", .optimization, \.training.seed, .within(0...4_294_967_295), "Seeds everything random."),
    .honored(
      "data_seed", .optimization, \.training.dataSeed, .orNull(.within(0...4_294_967_295)), "Seeds the order of rows."),
    .honored("learning_rate", .optimization, \.training.learningRate, .above(0), "The peak learning rate."),
    .honored("lr_scheduler_type", .optimization, \.training.scheduler, "Its curve."),
    .honored("lr_scheduler_kwargs", .optimization, \.training.schedulerOptions, "The curve's own settings."),
    .honored(
      "warmup_steps", .optimization, \.training.warmupSteps, .within(0...1e12), "Steps of warm-up; below 1 a share."),
    .honored("warmup_ratio", .optimization, \.training.warmupRatio, .within(0...1), "The share that warms up."),
    .honored(
      "optim", .optimization, \.training.optimizer.kind,
      "The update rule: AdamW or Lion with moments in 32 or 8 bits, `paged_` in a file that may leave memory; Adafactor; "
        + "gradient descent."),
    .honored(
      "optim_args", .optimization, \.sgdArguments,
      "`momentum`, `dampening` and `nesterov` of `sgd`, as `momentum=0.9, nesterov=true`."),
    .honored("weight_decay", .optimization, \.training.optimizer.weightDecay, .atLeast(0), "Not on biases and norms."),
    .honored("adam_beta1", .optimization, \.training.optimizer.beta1, .within(0..<1), "Decay of the first moment."),
    .honored("adam_beta2", .optimization, \.training.optimizer.beta2, .within(0..<1), "Decay of the second moment."),
    .honored("adam_epsilon", .optimization, \.training.optimizer.epsilon, .atLeast(0), "Added to the denominator."),
    .honored("max_grad_norm", .optimization, \.training.maxGradNorm, .atLeast(0), "Gradients are scaled down to it."),
    .honored(
      "neftune_noise_alpha", .optimization, \.training.neftuneNoiseAlpha, .orNull(.atLeast(0)),
      "Noise on the embeddings."),
    .honored(
      "label_smoothing_factor", .optimization, \.training.labelSmoothing, .within(0..<1),
      "The share of each target that is spread over the vocabulary, in training."),
    .honored(
      "bf16", .optimization, \.training.bf16,
      "Round both sides of the products of a training step to bfloat16, where the processor multiplies that faster than "
        + "float32 (AVX-512 BF16); sums and everything else stay float32. Elsewhere nothing changes."),
    .honored(
      "gradient_checkpointing", .optimization, \.training.checkpointing,
      "Compute activations again rather than keep them: in all layers (`true`, `unsloth`), none (`false`), or as many as "
        + "memory asks for (`auto`; TRL's default is `true`)."),
  ]

  private static let reportKeys: [RecipeKey] = [
    .honored("output_dir", .reports, \.training.outputDir, "The folder of the result."),
    .honored("run_name", .reports, \.training.runName, "A name for the run."),
    .honored(
      "resume_from_checkpoint", .reports, \.training.resume, "A `checkpoint-N` folder, or true for the newest."),
    .honored("logging_strategy", .reports, \.training.loggingStrategy, "When figures are logged."),
    .honored("logging_steps", .reports, \.training.loggingSteps, .above(0), "How often; below 1 a share of the run."),
    .honored("logging_first_step", .reports, \.training.logsFirstStep, "Log the first step as well."),
    .honored(
      "report_to", .reports, \.reports.recipeReports,
      "Also write TensorBoard's event files, or `log.jsonl` with a line for each log."),
    .honored(
      "logging_dir", .reports, \.reports.tensorBoardFolder,
      "The folder of the event files; null for `runs/<time>_<host>` in `output_dir`."),
    .honored("disable_tqdm", .reports, \.hidesProgress, "Show no progress bar."),
    .honored("eval_strategy", .reports, \.training.evalStrategy, "When held-out rows are measured."),
    .honored("eval_steps", .reports, \.training.evalSteps, .orNull(.above(0)), "How often; null as `logging_steps`."),
    .honored(
      "eval_delay", .reports, \.training.evalDelay, .atLeast(0), "Not before this step, or this epoch."),
    .honored("eval_on_start", .reports, \.training.evalOnStart, "Measure before the first step as well."),
    .honored(
      "per_device_eval_batch_size", .reports, \.training.evalBatchSize, .within(1...1_000_000), "Rows a batch there."),
    .honored("save_strategy", .reports, \.training.saveStrategy, "When checkpoints are written."),
    .honored("save_steps", .reports, \.training.saveSteps, .above(0), "How often; below 1 a share of the run."),
    .honored("save_total_limit", .reports, \.training.saveTotalLimit, .orNull(.atLeast(1)), "How many stay."),
    .honored("save_only_model", .reports, \.training.saveOnlyModel, "Leave out what resuming needs."),
    .honored(
      "load_best_model_at_end", .reports, \.training.loadBestModelAtEnd, "Hand back the lowest evaluation loss."),
    .honored(
      "early_stopping_patience", .reports, \.training.earlyStoppingPatience, .orNull(.atLeast(1)),
      "End after so many evaluations in a row without a lower loss; needs `load_best_model_at_end`."),
    .honored(
      "early_stopping_threshold", .reports, \.training.earlyStoppingThreshold, .atLeast(0), "Lower by more than this."),
  ]
}
