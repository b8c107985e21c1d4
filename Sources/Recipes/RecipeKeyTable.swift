import Training

extension RecipeKey {
  /// Every key a recipe may hold, in the order of the documentation.
  public static let all: [RecipeKey] =
    modelKeys + loraKeys + dataKeys + tokenKeys + optimizationKeys + reportKeys + idleKeys + refusedKeys

  /// The keys by name.
  static let byName = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })

  private static let modelKeys: [RecipeKey] = [
    .honoured(
      "model_name_or_path", .model, \.model.modelNameOrPath, "The base model: a folder, a GGUF file or `org/name`."),
    .honoured("model_revision", .model, \.model.revision, "Branch, tag or commit of `org/name`."),
    .honoured("dtype", .model, \.model.dtype, "How base weights are stored. Arithmetic is float32 whatever this says."),
    .honoured(
      "load_in_4bit", .quantization, \.model.loadIn4Bit,
      "Quantize the linear layers on loading (QLoRA). A base that is quantized already stays as it is."),
    .honoured("bnb_4bit_quant_type", .quantization, \.model.quantType, "The 4-bit code."),
    .honoured(
      "use_bnb_nested_quant", .quantization, \.model.usesNestedQuantization, "Quantize the block scales as well."),
    .honoured(
      "llm_int8_skip_modules", .quantization, \.model.unquantizedModules,
      "Modules that stay as they are (for 4 bits too, despite the name): paths, their ends, or expressions for their start. "
        + "By default the output head; a list of your own has to name `lm_head` too."),
  ]

  private static let loraKeys: [RecipeKey] = [
    .honoured("use_peft", .lora, \.usesPEFT, "Train adapters; without it every weight is trained."),
    .honoured("lora_r", .lora, \.lora.rank, .within(1...65_536), "The rank."),
    .honoured("lora_alpha", .lora, \.lora.alpha, .above(0), "The scale is alpha/r."),
    .honoured(
      "lora_dropout", .lora, \.lora.dropout, .within(0..<1), "The share of an adapter's input that is dropped."),
    .honoured(
      "lora_target_modules", .lora, \.lora.targetModules,
      "Names, `all-linear`, or an expression for whole paths; by default what PEFT picks for the architecture."),
    .honoured("lora_modules_to_save", .lora, \.lora.modulesToSave, "Modules trained whole, saved beside the adapter."),
    .honoured(
      "exclude_modules", .lora, \.lora.excludeModules, "Modules without an adapter, though the key above names them."),
    .honoured("use_rslora", .lora, \.lora.usesRSLoRA, "Scale by alpha/sqrt(r)."),
    .honoured("use_dora", .lora, \.lora.usesDoRA, "Train direction and magnitude apart."),
    .honoured("rank_pattern", .lora, \.lora.rankPatterns, "Ranks of modules whose path ends in a match."),
    .honoured("alpha_pattern", .lora, \.lora.alphaPatterns, "Alphas of modules whose path ends in a match."),
    .honoured(
      "init_lora_weights", .lora, \.lora.initialization, "How A starts: Kaiming-uniform, or normal. B is zero."),
  ]

  private static let dataKeys: [RecipeKey] = [
    .honoured("dataset_name", .data, \.data.datasetName, "The data set: a file, a folder or `org/name`."),
    .honoured(
      "dataset_config", .data, \.data.datasetConfig,
      "Its configuration (subset), as its `README.md` describes it, or the folder of this name."),
    .honoured(
      "dataset_train_split", .data, \.data.trainSplit,
      "Its split to train on; also a part as `train[:80%]`, or several as `train+validation`. A file is the split `train`."
    ),
    .honoured(
      "dataset_test_split", .data, \.data.testSplit, "Its split to evaluate on, if `eval_strategy` asks for it."),
    .honoured(
      "datasets", .data, \.data.sources,
      "Several sources, each with `path` or `query`, `name`, `data_dir`, `data_files`, `split`, `columns`, `fraction`, "
        + "`steps`. Joined; or, with fractions, mixed in these shares without repeating a row."),
    .honoured(
      "query", .data, \.data.query,
      "SQL instead of `dataset_name`, answered by the DuckDB command line: `SELECT zh, yue FROM 'pairs.parquet'`."),
    .honoured("steps", .data, \.data.steps, "What is done to the rows, in order; see below."),
    .honoured(
      "test_split_size", .data, \.data.testSplitSize, .orNull(.above(0)),
      "Hold out this share (below 1) or number of rows."),
    .honoured("eval_dataset", .data, \.data.evalDataset, "A source to evaluate on."),
    .honoured(
      "max_train_samples", .data, \.data.maxTrainSamples, .orNull(.atLeast(1)), "Train on the first rows only."),
    .honoured(
      "max_eval_samples", .data, \.data.maxEvalSamples, .orNull(.atLeast(1)), "Evaluate on the first rows only."),
    .honoured("dataset_text_field", .data, \.data.textField, "The column of finished text."),
    .honoured("shuffle_dataset", .data, \.data.shufflesDataset, "Shuffle the rows before packing them."),
    .honoured(
      "questions", .data, \.data.questions,
      "Asked before the first step, at each evaluation, and after the last step: a list, or a file of them."),
    .honoured("max_new_tokens", .data, \.data.maxNewTokens, .atLeast(1), "The length of those answers."),
  ]

  private static let tokenKeys: [RecipeKey] = [
    .honoured(
      "max_length", .tokens, \.training.maxLength, .orNull(.atLeast(2)), "Tokens a row or pack holds at most."),
    .honoured("truncation_mode", .tokens, \.training.truncationMode, "Which end of a too long row stays."),
    .honoured("packing", .tokens, \.training.packing, "Lay several rows into one sequence of `max_length` tokens."),
    .honoured(
      "packing_strategy", .tokens, \.training.packingStrategy,
      "Whole rows best fit first, cutting off (`bfd`) or carrying on (`bfd_split`) the excess; or everything joined and "
        + "cut (`wrapped`)."),
    .honoured("eval_packing", .tokens, \.training.evalPacking, "Pack in evaluation; null as `packing`."),
    .honoured(
      "completion_only_loss", .tokens, \.training.completionOnlyLoss,
      "Count the completion's tokens only; null for rows that have a `prompt`."),
    .honoured("assistant_only_loss", .tokens, \.training.assistantOnlyLoss, "Count the assistant's tokens only."),
    .honoured("loss_type", .tokens, \.training.lossType, "What is minimized; `nll` and `chunked_nll` are the same."),
    .honoured("eos_token", .tokens, \.training.eosToken, "The end token, where it is not the tokenizer's."),
    .honoured("pad_token", .tokens, \.training.padToken, "The padding token, where it is not the tokenizer's."),
    .honoured(
      "chat_template_path", .tokens, \.training.chatTemplatePath, "A Jinja file, or a model whose template is taken."),
  ]

  private static let optimizationKeys: [RecipeKey] = [
    .honoured(
      "per_device_train_batch_size", .optimization, \.training.trainBatchSize, .within(1...1_000_000), "Rows a batch."),
    .honoured(
      "gradient_accumulation_steps", .optimization, \.training.gradientAccumulationSteps, .within(1...1_000_000),
      "Batches an optimizer step."),
    .honoured("num_train_epochs", .optimization, \.training.epochs, .within(0...1e9), "Passes over the rows."),
    .honoured(
      "max_steps", .optimization, \.training.maxStepsOrMinusOne, .within(-1...1_000_000_000_000),
      "Optimizer steps; -1 for as many as the epochs give."),
    .honoured(
      "auto_find_batch_size", .optimization, \.training.findsBatchSize,
      "Make the batch smaller, and the accumulation longer, until the plan fits."),
    .honoured("dataloader_drop_last", .optimization, \.training.dropsLastBatch, "Leave out an incomplete last batch."),
    .honoured("train_sampling_strategy", .optimization, \.training.samplingStrategy, "The order of rows."),
    .honoured("seed", .optimization, \.training.seed, .within(0...4_294_967_295), "Seeds everything random."),
    .honoured(
      "data_seed", .optimization, \.training.dataSeed, .orNull(.within(0...4_294_967_295)), "Seeds the order of rows."),
    .honoured("learning_rate", .optimization, \.training.learningRate, .above(0), "The peak learning rate."),
    .honoured("lr_scheduler_type", .optimization, \.training.scheduler, "Its curve."),
    .honoured("lr_scheduler_kwargs", .optimization, \.training.schedulerOptions, "The curve's own settings."),
    .honoured(
      "warmup_steps", .optimization, \.training.warmupSteps, .within(0...1e12), "Steps of warm-up; below 1 a share."),
    .honoured("warmup_ratio", .optimization, \.training.warmupRatio, .within(0...1), "The share that warms up."),
    .honoured(
      "optim", .optimization, \.training.optimizer,
      "The update rule: AdamW or Lion with moments in 32 or 8 bits, `paged_` in a file that may leave memory; Adafactor; "
        + "gradient descent."),
    .honoured(
      "optim_args", .optimization, \.training.sgdOptions,
      "`momentum`, `dampening` and `nesterov` of `sgd`, as `momentum=0.9, nesterov=true`."),
    .honoured("weight_decay", .optimization, \.training.weightDecay, .atLeast(0), "Not on biases and norms."),
    .honoured("adam_beta1", .optimization, \.training.adamBeta1, .within(0..<1), "Decay of the first moment."),
    .honoured("adam_beta2", .optimization, \.training.adamBeta2, .within(0..<1), "Decay of the second moment."),
    .honoured("adam_epsilon", .optimization, \.training.adamEpsilon, .atLeast(0), "Added to the denominator."),
    .honoured("max_grad_norm", .optimization, \.training.maxGradNorm, .atLeast(0), "Gradients are scaled down to it."),
    .honoured(
      "neftune_noise_alpha", .optimization, \.training.neftuneNoiseAlpha, .orNull(.atLeast(0)),
      "Noise on the embeddings."),
    .honoured(
      "label_smoothing_factor", .optimization, \.training.labelSmoothing, .within(0..<1),
      "The share of each target that is spread over the vocabulary, in training."),
    .honoured(
      "bf16", .optimization, \.training.bf16,
      "Round both sides of the products of a training step to bfloat16, where the processor multiplies that faster than "
        + "float32 (AVX-512 BF16); sums and everything else stay float32. Elsewhere nothing changes."),
    .honoured(
      "gradient_checkpointing", .optimization, \.training.checkpointing,
      "Compute activations again rather than keep them: in all layers (`true`, `unsloth`), none (`false`), or as many as "
        + "memory asks for (`auto`; TRL's default is `true`)."),
  ]

  private static let reportKeys: [RecipeKey] = [
    .honoured("output_dir", .reports, \.training.outputDir, "The folder of the result."),
    .honoured("run_name", .reports, \.training.runName, "A name for the run."),
    .honoured(
      "resume_from_checkpoint", .reports, \.training.resume, "A `checkpoint-N` folder, or true for the newest."),
    .honoured("logging_strategy", .reports, \.training.loggingStrategy, "When figures are logged."),
    .honoured("logging_steps", .reports, \.training.loggingSteps, .above(0), "How often; below 1 a share of the run."),
    .honoured("logging_first_step", .reports, \.training.logsFirstStep, "Log the first step as well."),
    .honoured(
      "report_to", .reports, \.reports.recipeReports,
      "Also write TensorBoard's event files, or `log.jsonl` with a line for each log."),
    .honoured(
      "logging_dir", .reports, \.reports.tensorBoardFolder,
      "The folder of the event files; null for `runs/<time>_<host>` in `output_dir`."),
    .honoured("disable_tqdm", .reports, \.training.hidesProgress, "Show no progress bar."),
    .honoured("eval_strategy", .reports, \.training.evalStrategy, "When held-out rows are measured."),
    .honoured("eval_steps", .reports, \.training.evalSteps, .orNull(.above(0)), "How often; null as `logging_steps`."),
    .honoured(
      "eval_delay", .reports, \.training.evalDelay, .atLeast(0), "Not before this step, or this epoch."),
    .honoured("eval_on_start", .reports, \.training.evalOnStart, "Measure before the first step as well."),
    .honoured(
      "per_device_eval_batch_size", .reports, \.training.evalBatchSize, .within(1...1_000_000), "Rows a batch there."),
    .honoured("save_strategy", .reports, \.training.saveStrategy, "When checkpoints are written."),
    .honoured("save_steps", .reports, \.training.saveSteps, .above(0), "How often; below 1 a share of the run."),
    .honoured("save_total_limit", .reports, \.training.saveTotalLimit, .orNull(.atLeast(1)), "How many stay."),
    .honoured("save_only_model", .reports, \.training.saveOnlyModel, "Leave out what resuming needs."),
    .honoured(
      "load_best_model_at_end", .reports, \.training.loadBestModelAtEnd, "Hand back the lowest evaluation loss."),
    .honoured(
      "early_stopping_patience", .reports, \.training.earlyStoppingPatience, .orNull(.atLeast(1)),
      "End after so many evaluations in a row without a lower loss; needs `load_best_model_at_end`."),
    .honoured(
      "early_stopping_threshold", .reports, \.training.earlyStoppingThreshold, .atLeast(0), "Lower by more than this."),
  ]
}

extension TrainingArguments {
  /// `max_steps` as the recipe spells it.
  var maxStepsOrMinusOne: Int {
    get { maxSteps ?? -1 }
    set { maxSteps = newValue < 0 ? nil : newValue }
  }
}
