import Diagnostics

/// Training errors name the members of Swift types, in backticks; for a recipe they become the keys that set them.
enum RecipeTerms {
  /// Keys by the member that they set. Members that no error mentions may be missing.
  static let keys: [String: String] = [
    "adamBeta1": "adam_beta1",
    "beta": "beta",
    "evalBatchSize": "per_device_eval_batch_size",
    "generationBatchSize": "generation_batch_size",
    "generations": "num_generations",
    "rewardTimeout": "reward_timeout",
    "rewardWeights": "reward_weights",
    "rewards": "reward_funcs",
    "stepsPerGeneration": "steps_per_generation",
    "temperature": "temperature",
    "validationGenerations": "num_generations_eval",
    "centering": "center_rewards_coefficient",
    "labelCount": "num_labels",
    "labels": "id2label",
    "divergence": "f_divergence_type",
    "labelSmoothing": "label_smoothing",
    "routerLossCoefficient": "router_aux_loss_coef",
    "lossTypes": "loss_type",
    "lossWeights": "loss_weights",
    "findsBatchSize": "auto_find_batch_size",
    "isPrecomputed": "precompute_ref_log_probs",
    "isSynced": "sync_ref_model",
    "samplingStrategy": "train_sampling_strategy",
    "trainBatchSize": "per_device_train_batch_size",
    "usesWeighting": "use_weighting",
    "adamBeta2": "adam_beta2",
    "embeddingLearningRate": "embedding_learning_rate",
    "addedTokens": "add_tokens",
    "chatTemplatePath": "chat_template_path",
    "checkpointing": "gradient_checkpointing",
    "eosToken": "eos_token",
    "evalStrategy": "eval_strategy",
    "learningRate": "learning_rate",
    "loadBestModelAtEnd": "load_best_model_at_end",
    "maxLength": "max_length",
    "distillation": "teacher_model_name_or_path",
    "teacher": "teacher_model_name_or_path",
    "lossType": "loss_type",
    "optimizer": "optim",
    "outputDir": "output_dir",
    "padToken": "pad_token",
    "reports": "report_to",
    "resume": "resume_from_checkpoint",
    "sgdOptions": "optim_args",
    "targetModules": "lora_target_modules",
    "tensorBoardFolder": "logging_dir",
    "usesDoRA": "use_dora",
    "validationSet": "test_split_size or eval_dataset",
  ]

  /// Replaces every `` `member` `` that a key sets by that key.
  static func translate(_ text: String) -> String {
    let parts = text.split(separator: "`", omittingEmptySubsequences: false)
    guard parts.count > 2 else { return text }
    var result = ""
    for (index, part) in parts.enumerated() {
      if index % 2 == 1, index < parts.count - 1 {
        result += keys[String(part)] ?? "`\(part)`"
      } else if index % 2 == 1 {
        result += "`\(part)"
      } else {
        result += part
      }
    }
    return result
  }
}

extension SwiftletError {
  /// The error as the user of a recipe reads it: with keys instead of the members of Swift types.
  package var inRecipeTerms: SwiftletError { SwiftletError(domain, RecipeTerms.translate(reason), at: location) }
}

extension Recipe {
  /// Runs `body` and translates the errors that it throws into the terms of a recipe.
  package static func translating<Value>(_ body: () throws -> Value) throws -> Value {
    do {
      return try body()
    } catch let error as SwiftletError {
      throw error.inRecipeTerms
    }
  }
}
