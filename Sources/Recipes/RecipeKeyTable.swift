import Training

extension RecipeKey {
  /// Every key that a recipe for a method may hold, in the order of the documentation.
  public static func all(for method: TrainingMethod.Name) -> [RecipeKey] { tables[method]?.keys ?? [] }

  /// The keys of `sft`.
  public static var all: [RecipeKey] { all(for: .sft) }

  /// The key of this name in recipes for a method.
  static func named(_ name: String, for method: TrainingMethod.Name) -> RecipeKey? { tables[method]?.byName[name] }

  /// The methods whose recipes may hold this key.
  static func methods(with name: String) -> [TrainingMethod.Name] {
    TrainingMethod.Name.allCases.filter { named(name, for: $0).map { $0.status != .refused } ?? false }
  }

  private static let tables = Dictionary(
    uniqueKeysWithValues: TrainingMethod.Name.allCases.map { method in
      let keys = commonKeys + methodKeys(method) + idleKeys + refusedKeys
      return (method, (keys: keys, byName: Dictionary(keys.map { ($0.name, $0) }, uniquingKeysWith: { a, _ in a })))
    })

  /// The names of the keys that all methods have.
  package static var commonNames: [String] { commonKeys.map(\.name) }

  /// The keys of all methods.
  static let commonKeys = modelKeys + loraKeys + dataKeys + tokenKeys + optimizationKeys + reportKeys

  private static let modelKeys: [RecipeKey] = [
    .honored("method", .model, \.method, "The method of training; the command of the same name sets it."),
    .honored(
      "model_name_or_path", .model, \.model.name, "The base model: a folder, a GGUF file or `org/name`."),
    .honored("model_revision", .model, \.model.revision, "The branch, tag or commit of `org/name`."),
    .honored(
      "dtype", .model, \.training.savedType,
      "The type of the saved weights when every weight is trained; `auto` for the base model's own. Training computes in "
        + "float32, and adapters are saved in float32."),
    .honored(
      "load_in_4bit", .quantization, \.loadsIn4Bit,
      "Quantize the linear layers on loading (QLoRA). A base model that is already quantized is left as it is."),
    .honored("bnb_4bit_quant_type", .quantization, \.fourBitType, "The 4-bit type."),
    .honored(
      "use_bnb_nested_quant", .quantization, \.isDoubleQuantized, "Quantize the block scales too (double quantization)."
    ),
    .honored(
      "llm_int8_skip_modules", .quantization, \.unquantizedModules,
      "Modules not to quantize (in 4 bits too, despite the name): paths, ends of paths, or regular expressions for their "
        + "start. By default the output head; a list of your own must include `lm_head`."),
  ]

  private static let loraKeys: [RecipeKey] = [
    .honored("use_peft", .lora, \.usesPEFT, "Train an adapter. Without it, every weight is trained."),
    .honored("lora_r", .lora, \.lora.rank, .within(1...65_536), "The rank."),
    .honored("lora_alpha", .lora, \.lora.alpha, .above(0), "The scale is alpha/r."),
    .honored(
      "lora_dropout", .lora, \.lora.dropout, .within(0..<1), "The share of the adapter's input to drop in training."),
    .honored(
      "lora_target_modules", .lora, \.targetModules,
      "Names, `all-linear`, or a regular expression for whole paths. By default, what PEFT chooses for the architecture."
    ),
    .honored(
      "lora_modules_to_save", .lora, \.lora.modulesToSave, "Modules to train in full and save with the adapter."),
    .honored(
      "exclude_modules", .lora, \.lora.excludeModules,
      "Modules that get no adapter even if `lora_target_modules` includes them."),
    .honored("use_rslora", .lora, \.lora.usesRSLoRA, "Use the scale alpha/sqrt(r) (rsLoRA)."),
    .honored(
      "use_dora", .lora, \.lora.usesDoRA, "Train the magnitudes of weight rows apart (DoRA); needs `lora_dropout: 0`."),
    .honored("rank_pattern", .lora, \.rankPatterns, "Ranks of modules whose path ends in a match of a pattern."),
    .honored("alpha_pattern", .lora, \.alphaPatterns, "Alphas of modules whose path ends in a match of a pattern."),
    .honored(
      "init_lora_weights", .lora, \.lora.initialization,
      "How A is initialized: Kaiming uniform (true) or Gaussian, with B at zero; or both A and B random and `orthogonal`."
    ),
    .honored(
      "layers_to_transform", .lora, \.layersToTransform,
      "The transformer layers that get an adapter, counted from 0; null for all. Needs a list of `lora_target_modules`."
    ),
    .honored(
      "layers_pattern", .lora, \.lora.layersPattern,
      "The name of the list of layers that `layers_to_transform` counts in."),
    .honored(
      "loraplus_lr_ratio", .lora, \.training.optimizer.loraPlusRatio, .orNull(.above(0)),
      "By what the learning rate of B is multiplied (LoRA+); null for 1."),
  ]

  private static let dataKeys: [RecipeKey] = [
    .honored("dataset_name", .data, \.data.datasetName, "The dataset: a file, a folder or `org/name`."),
    .honored(
      "dataset_config", .data, \.data.datasetConfig,
      "Its configuration (subset), as its `README.md` describes it, or the folder with this name."),
    .honored(
      "dataset_train_split", .data, \.data.trainSplit,
      "The split to train on, part of one (`train[:80%]`), or several (`train+validation`). A file is the split `train`."
    ),
    .honored(
      "dataset_test_split", .data, \.data.testSplit, "The split for the validation loss, if `eval_strategy` is set."),
    .honored(
      "datasets", .data, \.data.sources,
      "Several sources, each with `path` or `query`, `name`, `data_dir`, `data_files`, `split`, `columns`, `fraction`, "
        + "`steps`. They are concatenated or, with fractions, mixed in these shares without repeating rows."),
    .honored(
      "query", .data, \.data.query,
      "SQL instead of `dataset_name`, answered by the DuckDB command line: `SELECT zh, yue FROM 'pairs.parquet'`."),
    .honored("steps", .data, \.data.steps, "The steps to apply to the rows, in order; see below."),
    .honored(
      "test_split_size", .data, \.data.testSplitSize, .orNull(.above(0)),
      "Split off this share (below 1) or number of rows for validation."),
    .honored("eval_dataset", .data, \.data.evalDataset, "The source of the validation rows."),
    .honored(
      "max_train_samples", .data, \.data.maxTrainSamples, .orNull(.atLeast(1)), "Train on only this many rows."),
    .honored(
      "max_eval_samples", .data, \.data.maxEvalSamples, .orNull(.atLeast(1)), "Evaluate only this many rows."),
    .honored("shuffle_dataset", .data, \.shufflesDataset, "Shuffle the rows before packing."),
    .honored(
      "questions", .data, \.data.questions,
      "Questions to ask before the first step, at each evaluation, and after the last step: a list or a file."),
    .honored("max_new_tokens", .data, \.data.maxNewTokens, .atLeast(1), "The most tokens of an answer."),
  ]

  private static let tokenKeys: [RecipeKey] = [
    .honored(
      "max_length", .tokens, \.training.preparation.maxLength, .orNull(.atLeast(2)),
      "The most tokens of a row or packed sequence."),
    .honored(
      "truncation_mode", .tokens, \.training.preparation.truncation, "Which end of a row to keep if it is too long."),
    .honored("eos_token", .tokens, \.training.eosToken, "The end-of-sequence token, if not the tokenizer's own."),
    .honored(
      "pad_token", .tokens, \.training.padToken,
      "The padding token to save with the tokenizer, if not its own. Training does not pad."),
    .honored(
      "chat_template_path", .tokens, \.training.chatTemplatePath,
      "A Jinja file, or a model folder whose chat template is used."),
  ]

  private static let optimizationKeys: [RecipeKey] = [
    .honored(
      "per_device_train_batch_size", .optimization, \.training.trainBatchSize, .within(1...1_000_000), "Rows per batch."
    ),
    .honored(
      "gradient_accumulation_steps", .optimization, \.training.gradientAccumulationSteps, .within(1...1_000_000),
      "Batches per optimizer step."),
    .honored("num_train_epochs", .optimization, \.training.epochs, .within(0...1e9), "Passes over the training rows."),
    .honored(
      "max_steps", .optimization, \.maxStepsOrMinusOne, .within(-1...1_000_000_000_000),
      "Optimizer steps; -1 to use `num_train_epochs`."),
    .honored(
      "auto_find_batch_size", .optimization, \.training.findsBatchSize,
      "Lower the batch size, and raise gradient accumulation to match, until the run fits in memory."),
    .honored("dataloader_drop_last", .optimization, \.training.dropsLastBatch, "Skip an incomplete last batch."),
    .honored("train_sampling_strategy", .optimization, \.training.samplingStrategy, "The order of the training rows."),
    .honored("seed", .optimization, \.training.seed, .within(0...4_294_967_295), "The seed of everything random."),
    .honored(
      "data_seed", .optimization, \.training.dataSeed, .orNull(.within(0...4_294_967_295)), "The seed of the row order."
    ),
    .honored("learning_rate", .optimization, \.training.learningRate, .above(0), "The peak learning rate."),
    .honored("lr_scheduler_type", .optimization, \.training.scheduler, "The learning rate schedule."),
    .honored("lr_scheduler_kwargs", .optimization, \.training.schedulerOptions, "Settings of the schedule."),
    .honored(
      "warmup_steps", .optimization, \.training.warmupSteps, .within(0...1e12),
      "Warmup steps; below 1, a fraction of all steps."),
    .honored(
      "warmup_ratio", .optimization, \.training.warmupRatio, .within(0...1),
      "The fraction of all steps spent on warmup."),
    .honored(
      "optim", .optimization, \.training.optimizer.kind,
      "The optimizer: AdamW or Lion with 32-bit or 8-bit moments, `paged_` if the system may page them out; Adafactor; SGD."
    ),
    .honored(
      "optim_args", .optimization, \.sgdArguments,
      "`momentum`, `dampening` and `nesterov` of `sgd`, as in `momentum=0.9, nesterov=true`."),
    .honored(
      "weight_decay", .optimization, \.training.optimizer.weightDecay, .atLeast(0),
      "Weight decay; not applied to biases and norms."),
    .honored(
      "adam_beta1", .optimization, \.training.optimizer.beta1, .within(0..<1), "The decay rate of the first moment."),
    .honored(
      "adam_beta2", .optimization, \.training.optimizer.beta2, .within(0..<1), "The decay rate of the second moment."),
    .honored(
      "adam_epsilon", .optimization, \.training.optimizer.epsilon, .atLeast(0), "The term added to the denominator."),
    .honored(
      "max_grad_norm", .optimization, \.training.maxGradNorm, .atLeast(0),
      "The global gradient norm above which gradients are clipped; 0 to never clip."),
    .honored(
      "neftune_noise_alpha", .optimization, \.training.neftuneNoiseAlpha, .orNull(.atLeast(0)),
      "The strength of the noise added to embeddings (NEFTune)."),
    .honored(
      "device", .optimization, \.model.device,
      "What to compute on: `cpu`; `gpu`, the best one; `gpu:N`, number N of `swiftlet devices`; or `auto`, a GPU if it is "
        + "faster than the CPU."),
    .honored("use_cpu", .optimization, \.usesCPU, "The same as `device: cpu`."),
    .honored(
      "bf16", .optimization, \.training.bf16,
      "Round the inputs of matrix products in training to bfloat16 if the processor multiplies it faster than float32 "
        + "(AVX-512 BF16). Accumulation and everything else stay float32. On other processors it changes nothing."),
    .honored(
      "gradient_checkpointing", .optimization, \.training.checkpointing,
      "Recompute activations instead of keeping them: in all layers (`true`, `unsloth`), in none (`false`), or in as many as "
        + "needed to fit in memory (`auto`; TRL's default is `true`)."),
  ]

  private static let reportKeys: [RecipeKey] = [
    .honored("output_dir", .reports, \.training.outputDir, "The folder for checkpoints and the result."),
    .honored("run_name", .reports, \.training.runName, "A name for the run."),
    .honored(
      "resume_from_checkpoint", .reports, \.training.resume,
      "The `checkpoint-N` folder to resume from, or true for the newest."),
    .honored("logging_strategy", .reports, \.training.loggingStrategy, "When to log."),
    .honored(
      "logging_steps", .reports, \.training.loggingSteps, .above(0), "How often; below 1, a fraction of the run."),
    .honored("logging_first_step", .reports, \.training.logsFirstStep, "Log the first step too."),
    .honored(
      "report_to", .reports, \.reports.recipeReports,
      "Also write TensorBoard event files, or `log.jsonl` with one line per log."),
    .honored(
      "logging_dir", .reports, \.reports.tensorBoardFolder,
      "The folder for event files; null for `runs/<time>_<host>` in `output_dir`."),
    .honored("disable_tqdm", .reports, \.hidesProgress, "Show a line per log instead of a progress bar."),
    .honored("eval_strategy", .reports, \.training.evalStrategy, "When to measure the validation loss."),
    .honored(
      "eval_steps", .reports, \.training.evalSteps, .orNull(.above(0)), "How often; null to use `logging_steps`."),
    .honored(
      "eval_delay", .reports, \.training.evalDelay, .atLeast(0), "Do not evaluate before this step or epoch."),
    .honored("eval_on_start", .reports, \.training.evalOnStart, "Evaluate before the first step too."),
    .honored(
      "per_device_eval_batch_size", .reports, \.training.evalBatchSize, .within(1...1_000_000),
      "Rows per validation batch."),
    .honored("save_strategy", .reports, \.training.saveStrategy, "When to save checkpoints."),
    .honored("save_steps", .reports, \.training.saveSteps, .above(0), "How often; below 1, a fraction of the run."),
    .honored(
      "save_total_limit", .reports, \.training.saveTotalLimit, .orNull(.atLeast(1)), "How many checkpoints to keep."),
    .honored(
      "save_only_model", .reports, \.training.saveOnlyModel,
      "Omit the optimizer state; such checkpoints cannot be resumed."),
    .honored(
      "load_best_model_at_end", .reports, \.training.loadBestModelAtEnd,
      "Use the checkpoint with the lowest validation loss as the result."),
    .honored(
      "early_stopping_patience", .reports, \.training.earlyStoppingPatience, .orNull(.atLeast(1)),
      "Stop after this many evaluations in a row without improvement; needs `load_best_model_at_end`."),
    .honored(
      "early_stopping_threshold", .reports, \.training.earlyStoppingThreshold, .atLeast(0),
      "By how much the loss must fall to count as an improvement."),
  ]
}
