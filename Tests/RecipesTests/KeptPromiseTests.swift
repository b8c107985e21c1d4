import Datasets
import Foundation
import Models
import Recipes
import Reports
import TestSupport
import Testing
import Training

/// Every honored key changes the settings that it fills in, and every setting is read by something.
@Suite struct KeptPromiseTests {
  /// A value for each honored key that is not its default, with other keys that it needs.
  static let changes: KeyValuePairs<String, String> = [
    "method": "dpo", "model_name_or_path": "m", "model_revision": "v2", "device": "gpu", "use_cpu": "true",
    "dtype": "bfloat16",
    "load_in_4bit": "true\nuse_peft: true",
    "bnb_4bit_quant_type": "fp4\nload_in_4bit: true\nuse_peft: true",
    "use_bnb_nested_quant": "true\nload_in_4bit: true\nuse_peft: true",
    "llm_int8_skip_modules": "[o_proj]\nload_in_4bit: true\nuse_peft: true", "use_peft": "true",
    "lora_r": "3\nuse_peft: true", "lora_alpha": "5\nuse_peft: true", "lora_dropout": "0.5\nuse_peft: true",
    "lora_target_modules": "[o_proj]\nuse_peft: true",
    "lora_target_parameters": "[experts.down_proj]\nlora_dropout: 0\nuse_peft: true",
    "lora_modules_to_save": "[lm_head]\nuse_peft: true",
    "exclude_modules": "[v_proj]\nuse_peft: true", "use_rslora": "true\nuse_peft: true",
    "rank_pattern": "{q_proj: 4}\nuse_peft: true", "alpha_pattern": "{q_proj: 4}\nuse_peft: true",
    "init_lora_weights": "orthogonal\nuse_peft: true", "layers_to_transform": "[1]\nuse_peft: true",
    "layers_pattern": "[layers]\nuse_peft: true", "loraplus_lr_ratio": "16\nuse_peft: true",
    "embedding_learning_rate": "1e-3", "lora_bias": "true\nuse_peft: true",
    "trainable_token_indices": "{embed_tokens: [1, 2], lm_head: [3]}\nuse_peft: true",
    "teacher_model_name_or_path": "t", "teacher_model_revision": "v2\nteacher_model_name_or_path: t",
    "beta": "0.25\nteacher_model_name_or_path: t", "temperature": "2\nteacher_model_name_or_path: t",
    "use_dora": "true\nlora_dropout: 0\nuse_peft: true", "dataset_name": "d",
    "dataset_config": "c",
    "dataset_train_split": "t", "dataset_test_split": "v", "datasets": "[a, b]", "query": "SELECT 1",
    "steps": "[{shuffle: 1}]", "test_split_size": "0.5", "eval_dataset": "e", "max_train_samples": "5",
    "max_eval_samples": "5", "dataset_text_field": "body", "shuffle_dataset": "true", "questions": "[Why?]",
    "max_new_tokens": "5", "max_length": "5", "truncation_mode": "keep_end", "packing": "true",
    "packing_strategy": "wrapped\npacking: true", "eval_packing": "true", "completion_only_loss": "true",
    "assistant_only_loss": "true", "loss_type": "dft", "eos_token": "x", "pad_token": "x", "chat_template_path": "x",
    "add_tokens": "[x]", "add_special_tokens": "[x]",
    "per_device_train_batch_size": "3", "gradient_accumulation_steps": "3", "num_train_epochs": "7", "max_steps": "7",
    "auto_find_batch_size": "true", "dataloader_drop_last": "true", "train_sampling_strategy": "sequential",
    "seed": "7", "data_seed": "7", "learning_rate": "0.5", "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": "{num_cycles: 2}", "warmup_steps": "7", "warmup_ratio": "0.5", "optim": "lion",
    "optim_args": "momentum=0.5\noptim: sgd", "weight_decay": "0.5", "adam_beta1": "0.5", "adam_beta2": "0.5",
    "adam_epsilon": "0.5", "max_grad_norm": "7", "neftune_noise_alpha": "7", "label_smoothing_factor": "0.5",
    "router_aux_loss_coef": "0.5", "bf16": "true", "gradient_checkpointing": "true", "output_dir": "x", "run_name": "x",
    "resume_from_checkpoint": "true", "verify_after_training": "true", "verification_answers": "7",
    "logging_strategy": "epoch", "logging_steps": "7", "logging_first_step": "true",
    "report_to": "jsonl", "logging_dir": "x", "loss_curve_title": "x",
    "loss_curve_x_label": "x", "loss_curve_y_label": "x", "push_to_hub": "true",
    "hub_model_id": "org/name", "hub_private_repo": "true", "hub_revision": "draft", "disable_tqdm": "true",
    "eval_strategy": "epoch",
    "eval_steps": "7",
    "eval_delay": "7", "eval_on_start": "true", "per_device_eval_batch_size": "3", "save_strategy": "epoch",
    "save_steps": "7", "save_total_limit": "7", "save_only_model": "true",
    "load_best_model_at_end": "true\neval_strategy: epoch",
    "early_stopping_patience": "3\nload_best_model_at_end: true\neval_strategy: epoch",
    "early_stopping_threshold": "0.5\nearly_stopping_patience: 3\nload_best_model_at_end: true\neval_strategy: epoch",
  ]

  /// The settings that a recipe fills in, without how it spelled them.
  private static func settings(_ recipe: Recipe) -> String {
    var text = ""
    dump(
      [
        recipe.model, recipe.data, recipe.lora as Any, recipe.training, recipe.reports, recipe.publication,
        recipe.hidesProgress,
      ] as [Any],
      to: &text)
    return text
  }

  @Test func everyHonoredKeyIsListed() {
    let honored = RecipeKey.all.filter { $0.status == .honored }.map(\.name)
    #expect(Set(honored) == Set(Self.changes.map(\.key)) && honored.count == Self.changes.count)
  }

  @Test func everyHonoredKeyChangesTheSettings() throws {
    for (key, value) in Self.changes {
      // First only the other keys, then with this one.
      let others = value.split(separator: "\n").dropFirst().joined(separator: "\n")
      let (without, with) = (try Recipe(yaml: others), try Recipe(yaml: "\(key): \(value)"))
      #expect(Self.settings(without) != Self.settings(with), "\(key) changes nothing")
      #expect(without.arguments[key] != with.arguments[key], "\(key) is missing in training_args.json")
    }
  }

  /// The same for the keys of other methods.
  static let methodChanges: [TrainingMethod.Name: KeyValuePairs<String, String>] = [
    .dpo: [
      "disable_dropout": "false", "loss_type": "[hinge, sft]", "loss_weights": "[0.5]", "beta": "0.5",
      "label_smoothing": "0.5", "f_divergence_type": "forward_kl", "f_alpha_divergence_coef": "0.75",
      "ld_alpha": "0.5", "use_weighting": "true", "discopop_tau": "0.5", "precompute_ref_log_probs": "true",
      "precompute_ref_batch_size": "3", "sync_ref_model": "true", "ref_model_mixup_alpha": "0.5",
      "ref_model_sync_steps": "7", "router_aux_loss_coef": "0.5",
    ],
    .orpo: ["disable_dropout": "false", "beta": "0.5"],
    .cpo: [
      "disable_dropout": "false", "beta": "0.5", "loss_type": "simpo", "label_smoothing": "0.5", "cpo_alpha": "0",
      "simpo_gamma": "1.5", "alpha": "0.25",
    ],
    .kto: [
      "disable_dropout": "false", "beta": "0.5", "loss_type": "apo_zero_unpaired", "desirable_weight": "0.5",
      "undesirable_weight": "0.5", "precompute_ref_log_probs": "true", "precompute_ref_batch_size": "3",
      "sync_ref_model": "true", "ref_model_mixup_alpha": "0.5", "ref_model_sync_steps": "7",
      "router_aux_loss_coef": "0.5",
    ],
    .grpo: [
      "reward_funcs": "[accuracy_reward, ./reward.py]", "reward_weights": "[0.5]", "reward_timeout": "7",
      "scale_rewards": "batch", "num_generations": "4", "num_generations_eval": "2", "max_completion_length": "7",
      "temperature": "0.5", "top_p": "0.5", "top_k": "5", "min_p": "0.5", "repetition_penalty": "1.5",
      "steps_per_generation": "2", "generation_batch_size": "16", "num_iterations": "2", "loss_type": "bnpo",
      "beta": "0.5", "use_bias_correction_kl": "false", "epsilon": "0.5", "epsilon_high": "0.5", "delta": "1.5",
      "importance_sampling_level": "sequence", "mask_truncated_completions": "true", "disable_dropout": "true",
      "sync_ref_model": "true", "ref_model_mixup_alpha": "0.5", "ref_model_sync_steps": "7",
      "router_aux_loss_coef": "0.5",
    ],
    .reward: ["disable_dropout": "false", "center_rewards_coefficient": "0.5"],
    .classify: ["dataset_text_field": "body", "num_labels": "3", "id2label": "[a, b]"],
  ]

  @Test(arguments: TrainingMethod.Name.allCases.filter { $0 != .sft })
  func everyKeyOfAMethodChangesTheSettings(_ method: TrainingMethod.Name) throws {
    let changes = try #require(Self.methodChanges[method])
    let common = Set(RecipeKey.commonNames)
    let honored = RecipeKey.all(for: method).filter { $0.status == .honored && !common.contains($0.name) }
    #expect(Set(honored.map(\.name)) == Set(changes.map(\.key)))
    for (key, value) in changes {
      let (without, with) = (try Recipe(yaml: "", method: method), try Recipe(yaml: "\(key): \(value)", method: method))
      #expect(Self.settings(without) != Self.settings(with), "\(key) changes nothing")
      #expect(without.arguments[key] != with.arguments[key], "\(key) is missing in training_args.json")
    }
  }

  /// Every member of the settings is used by code that runs training, not only where it is declared and filled in.
  @Test func everySettingIsRead() throws {
    let declarations = [
      "TrainingConfiguration.swift", "RecipeDraft.swift", "RecipeKeyTable.swift", "DataArguments.swift",
      "RecipeReader.swift", "BaseModel.swift", "RecipeKeyTable+Methods.swift", "RecipeKeyTable+GRPO.swift",
    ]
    var sources = ""
    for module in ["Training", "Datasets", "Models", "Reports", "Recipes", "Swiftlet", "SwiftletCommand"] {
      let folder = repository.appendingPathComponent("Sources/\(module)")
      let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)?.compactMap { $0 as? URL }
      for file in files ?? []
      where file.pathExtension == "swift" && !declarations.contains(file.lastPathComponent) {
        sources += try String(contentsOf: file, encoding: .utf8)
      }
    }
    // Methods of the settings themselves read them without a dot; declarations and comments do not count.
    let own = try [
      "Training/TrainingConfiguration.swift", "Recipes/DataArguments.swift", "Models/LoRA/LoRAConfiguration.swift",
      "Training/OptimizerConfiguration.swift", "Training/Methods/DPOConfiguration+Terms.swift",
      "Training/Methods/CPOLoss.swift", "Training/Methods/GRPOConfiguration.swift",
      "Training/Rollouts/ProgramReward.swift",
    ].flatMap { file in
      try String(contentsOf: repository.appendingPathComponent("Sources/\(file)"), encoding: .utf8)
        .split(separator: "\n").filter { !$0.contains("public var ") && !$0.contains("///") }
    }.joined(separator: "\n")
    let settings: [Any] = [
      BaseModel(), DataArguments(), LoRAConfiguration(), TrainingConfiguration(), PreparationOptions(),
      OptimizerConfiguration(), ReportConfiguration(), LossCurveLabels(), DPOConfiguration(),
      ORPOConfiguration(), CPOConfiguration(), KTOConfiguration(), GRPOConfiguration(),
      ReferenceSettings(),
      RewardConfiguration(), ClassificationConfiguration(),
    ]
    for value in settings {
      for label in Mirror(reflecting: value).children.compactMap(\.label) {
        let isRead =
          try sources.contains(Regex("\\.\(label)\\b").wordBoundaryKind(.simple))
          || own.contains(Regex("\\b\(label)\\b").wordBoundaryKind(.simple))
        #expect(isRead, "\(type(of: value)).\(label) is read nowhere")
      }
    }
    #expect(sources.contains(".hidesProgress"))
  }
}
