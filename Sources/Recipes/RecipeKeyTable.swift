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
      let own = methodKeys(method)
      let names = Set(own.map(\.name))
      let keys = commonKeys + own + idleKeys + refusedKeys.filter { !names.contains($0.name) }
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
      "The type in which full fine-tuning saves the weights; `auto` keeps the base model's. Training uses float32, and "
        + "adapters are saved in float32."),
    .honored(
      "load_in_4bit", .quantization, \.loadsIn4Bit,
      "Quantize the linear layers to 4 bits on loading (QLoRA). A base model that is already quantized stays as it is."),
    .honored("bnb_4bit_quant_type", .quantization, \.fourBitType, "The 4-bit data type."),
    .honored(
      "use_bnb_nested_quant", .quantization, \.isDoubleQuantized, "Quantize the block scales too (double quantization)."
    ),
    .honored(
      "llm_int8_skip_modules", .quantization, \.unquantizedModules,
      "Modules to leave unquantized (in 4 bits too, despite the name): module paths, ends of paths, or regular "
        + "expressions that match the start of a path. The default is the output head; a list of your own replaces it, so "
        + "include `lm_head`."),
  ]

  private static let loraKeys: [RecipeKey] = [
    .honored("use_peft", .lora, \.usesPEFT, "Train a LoRA adapter. If false, all weights are trained."),
    .honored("lora_r", .lora, \.lora.rank, .within(1...65_536), "The rank r of the adapter."),
    .honored("lora_alpha", .lora, \.lora.alpha, .above(0), "The adapter's output is multiplied by alpha/r."),
    .honored(
      "lora_dropout", .lora, \.lora.dropout, .within(0..<1),
      "The dropout probability of the adapter's input during training."),
    .honored(
      "lora_target_modules", .lora, \.targetModules,
      "The layers to adapt: names, `all-linear`, or a regular expression that matches whole paths. The default is PEFT's "
        + "choice for the architecture."
    ),
    .honored(
      "lora_target_parameters", .lora, \.lora.targetParameters,
      "Parameters of experts to adapt, such as `experts.gate_up_proj` and `experts.down_proj`; needs `lora_dropout: 0`. "
        + "Without `lora_target_modules` nothing else is adapted."),
    .honored(
      "lora_modules_to_save", .lora, \.lora.modulesToSave, "Modules to train in full and to save with the adapter."),
    .honored(
      "exclude_modules", .lora, \.lora.excludeModules,
      "Modules to leave out, even if `lora_target_modules` includes them."),
    .honored("use_rslora", .lora, \.lora.usesRSLoRA, "Multiply by alpha/sqrt(r) instead of alpha/r (rsLoRA)."),
    .honored(
      "use_dora", .lora, \.lora.usesDoRA,
      "Train the magnitude of each row of a weight separately (DoRA); needs `lora_dropout: 0`."),
    .honored(
      "rank_pattern", .lora, \.rankPatterns,
      "Other ranks, by regular expression: a pattern applies to modules whose path ends with a match."),
    .honored("alpha_pattern", .lora, \.alphaPatterns, "Other alphas, by regular expression, as in `rank_pattern`."),
    .honored(
      "init_lora_weights", .lora, \.lora.initialization,
      "How to initialize A: Kaiming uniform (true) or `gaussian`, with B at zero; both A and B at random and `orthogonal`; or "
        + "both with the principal singular vectors of the weight, exactly (`pissa`) or by N fast iterations "
        + "(`pissa_niter_N`). An adapter of `pissa` is saved with twice the rank, for the base model as it is."
    ),
    .honored(
      "lora_bias", .lora, \.lora.hasBias,
      "Also train a bias of each update; it can be merged only into layers that have one."),
    .honored(
      "trainable_token_indices", .lora, \.lora.trainableTokens,
      "Tokens, by their ids, whose embeddings are trained too, and the rows of a tied head; or a mapping from "
        + "`embed_tokens` and `lm_head` to such lists."),
    .honored(
      "layers_to_transform", .lora, \.layersToTransform,
      "The transformer layers to adapt, counted from 0; null for all. Needs a list of `lora_target_modules`."
    ),
    .honored(
      "layers_pattern", .lora, \.lora.layersPattern,
      "The name of the list of layers that `layers_to_transform` counts in."),
    .honored(
      "loraplus_lr_ratio", .lora, \.training.optimizer.loraPlusRatio, .orNull(.above(0)),
      "The factor between the learning rates of B and A (LoRA+); null for 1."),
  ]

  private static let dataKeys: [RecipeKey] = [
    .honored("dataset_name", .data, \.data.datasetName, "The dataset: a file, a folder or `org/name`."),
    .honored(
      "dataset_config", .data, \.data.datasetConfig,
      "The configuration (subset) of the dataset: one listed in its `README.md`, or a folder of that name."),
    .honored(
      "dataset_train_split", .data, \.data.trainSplit,
      "The split to train on, a part of one (`train[:80%]`), or several (`train+validation`). A single file is the split "
        + "`train`."
    ),
    .honored(
      "dataset_test_split", .data, \.data.testSplit, "The split to evaluate on, if `eval_strategy` is set."),
    .honored(
      "datasets", .data, \.data.sources,
      "Several sources, each with `path` or `query`, and optionally `name`, `data_dir`, `data_files`, `split`, `columns`, "
        + "`fraction` and `steps`. They are concatenated or, if they have fractions, mixed in these proportions without "
        + "repeating rows."),
    .honored(
      "query", .data, \.data.query,
      "An SQL query instead of `dataset_name`, run by the DuckDB command line: `SELECT zh, yue FROM 'pairs.parquet'`."),
    .honored("steps", .data, \.data.steps, "Transformations of the rows, in order; see [Steps](#steps)."),
    .honored(
      "test_split_size", .data, \.data.testSplitSize, .orNull(.above(0)),
      "Hold out this fraction of the rows (below 1), or this many, for validation."),
    .honored(
      "eval_dataset", .data, \.data.evalDataset,
      "The dataset to evaluate on: a path, `org/name`, or a source as in `datasets`."),
    .honored(
      "max_train_samples", .data, \.data.maxTrainSamples, .orNull(.atLeast(1)), "Train on only the first n rows."),
    .honored(
      "max_eval_samples", .data, \.data.maxEvalSamples, .orNull(.atLeast(1)), "Evaluate on only the first n rows."),
    .honored("shuffle_dataset", .data, \.shufflesDataset, "Shuffle the rows before packing."),
    .honored(
      "questions", .data, \.data.questions,
      "Questions to ask the model before training, at each evaluation, and after training: a list or a file."),
    .honored("max_new_tokens", .data, \.data.maxNewTokens, .atLeast(1), "The maximum length of an answer, in tokens."),
  ]

  private static let tokenKeys: [RecipeKey] = [
    .honored(
      "max_length", .tokens, \.training.preparation.maxLength, .orNull(.atLeast(2)),
      "The maximum length of a row or packed sequence, in tokens; null for no limit."),
    .honored(
      "truncation_mode", .tokens, \.training.preparation.truncation, "Which end of an overlong row to keep."),
    .honored("eos_token", .tokens, \.training.eosToken, "The EOS token; null for the tokenizer's own."),
    .honored(
      "pad_token", .tokens, \.training.padToken,
      "The padding token to save with the tokenizer; null for its own. Training does not pad."),
    .honored(
      "add_tokens", .tokens, \.training.addedTokens,
      "Texts to add to the vocabulary as tokens. Those that are new get embeddings, which begin as the mean of the others; an "
        + "adapter trains them, as `trainable_token_indices` does, unless `lora_modules_to_save` trains whole modules."),
    .honored(
      "add_special_tokens", .tokens, \.training.addedSpecialTokens,
      "The same for special tokens, such as those of a chat template: answers don't show them."),
    .honored(
      "chat_template_path", .tokens, \.training.chatTemplatePath,
      "The chat template: a Jinja file; or a model (a folder or org/name) to take it from, together with the tokens that the "
        + "vocabulary lacks, and the EOS token."),
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
      "Reduce the batch size until the run fits in memory, and increase gradient accumulation to match."),
    .honored(
      "dataloader_drop_last", .optimization, \.training.dropsLastBatch,
      "Drop the last batch of an epoch if it is incomplete."),
    .honored("train_sampling_strategy", .optimization, \.training.samplingStrategy, "The order of the training rows."),
    .honored("seed", .optimization, \.training.seed, .within(0...4_294_967_295), "The random seed."),
    .honored(
      "data_seed", .optimization, \.training.dataSeed, .orNull(.within(0...4_294_967_295)),
      "The seed for the order of the rows; null for `seed`."
    ),
    .honored("learning_rate", .optimization, \.training.learningRate, .above(0), "The peak learning rate."),
    .honored(
      "embedding_learning_rate", .optimization, \.training.embeddingLearningRate, .orNull(.above(0)),
      "The peak learning rate of embeddings and output layers that are trained in full; null for `learning_rate`."),
    .honored("lr_scheduler_type", .optimization, \.training.scheduler, "The learning rate schedule."),
    .honored(
      "lr_scheduler_kwargs", .optimization, \.training.schedulerOptions,
      "Options of the schedule, such as `num_cycles`."),
    .honored(
      "warmup_steps", .optimization, \.training.warmupSteps, .within(0...1e12),
      "The number of warmup steps; below 1, a fraction of all steps."),
    .honored(
      "warmup_ratio", .optimization, \.training.warmupRatio, .within(0...1),
      "The fraction of all steps to use for warmup, if `warmup_steps` is 0."),
    .honored(
      "optim", .optimization, \.training.optimizer.kind,
      "The optimizer: AdamW or Lion with 32-bit or 8-bit moments, Adafactor, SGD, Muon for matrices with AdamW for the "
        + "rest, or schedule-free AdamW. `paged_` keeps the moments in a file that the system can page out."
    ),
    .honored(
      "optim_args", .optimization, \.sgdArguments,
      "Options of `sgd`: `momentum`, `dampening` and `nesterov`, as in `momentum=0.9, nesterov=true`."),
    .honored(
      "weight_decay", .optimization, \.training.optimizer.weightDecay, .atLeast(0),
      "Weight decay; not applied to biases and norms."),
    .honored(
      "adam_beta1", .optimization, \.training.optimizer.beta1, .within(0..<1),
      "The decay rate of AdamW's and Lion's first moment."),
    .honored(
      "adam_beta2", .optimization, \.training.optimizer.beta2, .within(0..<1),
      "The decay rate of AdamW's second moment; Lion's second coefficient."),
    .honored(
      "adam_epsilon", .optimization, \.training.optimizer.epsilon, .atLeast(0),
      "The term that AdamW adds to the denominator."),
    .honored(
      "max_grad_norm", .optimization, \.training.maxGradNorm, .atLeast(0),
      "Clip the gradients to this global norm; 0 to never clip."),
    .honored(
      "neftune_noise_alpha", .optimization, \.training.neftuneNoiseAlpha, .orNull(.atLeast(0)),
      "The scale of the noise added to the embeddings during training (NEFTune)."),
    .honored(
      "device", .optimization, \.model.device,
      "The device to compute on: `cpu`; `gpu`, the best GPU; `gpu:N`, as `swiftlet devices` numbers them; or `auto`, a GPU if "
        + "it is faster than the CPU."),
    .honored("use_cpu", .optimization, \.usesCPU, "The same as `device: cpu`."),
    .honored(
      "bf16", .optimization, \.training.bf16,
      "Round the inputs of matrix products in training to bfloat16 if the processor multiplies it faster than float32 "
        + "(AMX, AVX-512 BF16), or to float16 on a GPU with matrix units. Accumulation and everything else stay float32. On "
        + "other devices it changes nothing."),
    .honored(
      "gradient_checkpointing", .optimization, \.training.checkpointing,
      "Save memory by recomputing activations: in all layers (`true`, `unsloth`), in none (`false`), or in as many as "
        + "necessary (`auto`; TRL's default is `true`)."),
  ]

  private static let reportKeys: [RecipeKey] = [
    .honored("output_dir", .reports, \.training.outputDir, "The folder for checkpoints and the result."),
    .honored("run_name", .reports, \.training.runName, "The name of the run, used as the title of the model card."),
    .honored(
      "resume_from_checkpoint", .reports, \.training.resume,
      "The `checkpoint-N` folder to resume from, or true for the latest."),
    .honored(
      "verify_after_training", .reports, \.training.verifiesAfterTraining,
      "Open the result afresh at the end and compare its losses and answers or its scores, tokenizer and template with those "
        + "of the run, as `swiftlet verify` does."),
    .honored(
      "verification_answers", .reports, \.training.verificationAnswers, .within(0...1000),
      "How many greedy answers to record at the end, for `swiftlet verify`."),
    .honored(
      "logging_strategy", .reports, \.training.loggingStrategy,
      "When to log: every `logging_steps`, every epoch, or never."),
    .honored(
      "logging_steps", .reports, \.training.loggingSteps, .above(0),
      "Log every n steps; below 1, a fraction of all steps."),
    .honored("logging_first_step", .reports, \.training.logsFirstStep, "Also log the first step."),
    .honored(
      "report_to", .reports, \.reports.recipeReports,
      "Also write TensorBoard event files, or `log.jsonl` with one line per log entry."),
    .honored(
      "logging_dir", .reports, \.reports.tensorBoardFolder,
      "The folder for TensorBoard event files; null for `runs/<time>_<host>` in `output_dir`."),
    .honored(
      "loss_curve_title", .reports, \.reports.lossCurve.title,
      "The title of `loss_curve.png`; null for \"Training loss\"."),
    .honored(
      "loss_curve_x_label", .reports, \.reports.lossCurve.xLabel,
      "The label of its horizontal axis; null for \"optimizer step\"."),
    .honored(
      "loss_curve_y_label", .reports, \.reports.lossCurve.yLabel,
      "The label of its vertical axis; null for \"loss (nats per token)\"."),
    .honored(
      "push_to_hub", .reports, \.publication.isPublished,
      "After the run, upload the files of `output_dir` to the Hugging Face Hub, with the token of `HF_TOKEN` or `hf auth login`."
    ),
    .honored(
      "hub_model_id", .reports, \.publication.repository,
      "The repository to upload to; null for one of yours with the name of `output_dir`."),
    .honored(
      "hub_private_repo", .reports, \.publication.isPrivate, "Whether a new repository is private; null for no."),
    .honored("hub_revision", .reports, \.publication.revision, "The branch to upload to; null for main."),
    .honored("disable_tqdm", .reports, \.hidesProgress, "Do not show a progress bar."),
    .honored(
      "eval_strategy", .reports, \.training.evalStrategy,
      "When to compute the validation loss: every `eval_steps`, every epoch, or never."),
    .honored(
      "eval_steps", .reports, \.training.evalSteps, .orNull(.above(0)),
      "Evaluate every n steps; below 1, a fraction of all steps; null for `logging_steps`."),
    .honored(
      "eval_delay", .reports, \.training.evalDelay, .atLeast(0),
      "The step or epoch (as in `eval_strategy`) before which not to evaluate."),
    .honored("eval_on_start", .reports, \.training.evalOnStart, "Also evaluate before the first step."),
    .honored(
      "per_device_eval_batch_size", .reports, \.training.evalBatchSize, .within(1...1_000_000),
      "Rows per validation batch."),
    .honored(
      "save_strategy", .reports, \.training.saveStrategy,
      "When to save checkpoints: every `save_steps`, every epoch, whenever the validation loss is the best so far, or never."
    ),
    .honored(
      "save_steps", .reports, \.training.saveSteps, .above(0),
      "Save every n steps; below 1, a fraction of all steps."),
    .honored(
      "save_total_limit", .reports, \.training.saveTotalLimit, .orNull(.atLeast(1)),
      "The number of checkpoints to keep; older ones are deleted."),
    .honored(
      "save_only_model", .reports, \.training.saveOnlyModel,
      "Save checkpoints without the optimizer state. A run cannot resume from them."),
    .honored(
      "load_best_model_at_end", .reports, \.training.loadBestModelAtEnd,
      "Finish with the weights of the checkpoint that has the lowest validation loss."),
    .honored(
      "early_stopping_patience", .reports, \.training.earlyStoppingPatience, .orNull(.atLeast(1)),
      "Stop after n evaluations in a row without improvement; needs `load_best_model_at_end`."),
    .honored(
      "early_stopping_threshold", .reports, \.training.earlyStoppingThreshold, .atLeast(0),
      "The decrease in validation loss that counts as an improvement."),
  ]
}
