/// Another name for a key.
public struct RecipeSpelling: Sendable, Hashable {
  /// The other name, with underscores.
  public let name: String
  /// The key that it means.
  public let key: String
  /// How the name is handled.
  public let kind: Kind

  /// How another name is handled.
  public enum Kind: Sendable, Hashable {
    /// A name that PEFT, transformers or bitsandbytes use. It is accepted.
    case equal
    /// A name in earlier versions of TRL or transformers. It is accepted with a note.
    case former
    /// A name in another tool. Because its values may mean something else, the error only suggests the key.
    case foreign
  }

  /// All other names, of every kind.
  public static let all: [RecipeSpelling] =
    of(.equal, equal) + of(.former, former) + of(.foreign, foreign)

  static let byName = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })

  private static func of(_ kind: Kind, _ pairs: KeyValuePairs<String, String>) -> [RecipeSpelling] {
    pairs.map { RecipeSpelling(name: $0.key, key: $0.value, kind: kind) }
  }

  private static let equal: KeyValuePairs = [
    "r": "lora_r", "target_modules": "lora_target_modules", "modules_to_save": "lora_modules_to_save",
    "task_type": "lora_task_type", "target_parameters": "lora_target_parameters",
    "bnb_4bit_use_double_quant": "use_bnb_nested_quant", "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs", "dataset_path": "dataset_name",
    "base_model_name_or_path": "model_name_or_path", "revision": "model_revision",
  ]

  private static let former: KeyValuePairs = [
    "max_seq_length": "max_length", "torch_dtype": "dtype", "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu", "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size", "use_liger": "use_liger_kernel",
    "eval_dataset_packing": "eval_packing", "push_to_hub_model_id": "hub_model_id", "push_to_hub_token": "hub_token",
  ]

  private static let foreign: KeyValuePairs = [
    // Python's arguments of the trainer and of Unsloth
    "model": "model_name_or_path", "model_name": "model_name_or_path", "train_dataset": "dataset_name",
    "tokenizer": "chat_template_path", "processing_class": "chat_template_path", "random_state": "seed",
    "use_gradient_checkpointing": "gradient_checkpointing", "num_of_sequences": "packing", "chars_per_token": "packing",
    "train_on_responses_only": "assistant_only_loss", "new_tokens": "add_tokens",
    "additional_special_tokens": "add_special_tokens",
    // axolotl
    "base_model": "model_name_or_path", "sequence_len": "max_length", "sample_packing": "packing",
    "eval_sample_packing": "eval_packing", "micro_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size", "num_epochs": "num_train_epochs", "optimizer": "optim",
    "lr_scheduler": "lr_scheduler_type", "val_set_size": "test_split_size", "adapter": "use_peft",
    "lora_target_linear": "lora_target_modules", "train_on_inputs": "completion_only_loss",
    "special_tokens": "eos_token", "flash_attention": "attn_implementation", "evals_per_epoch": "eval_steps",
    "saves_per_epoch": "save_steps", "chat_template": "chat_template_path",
    "tokens": "add_tokens", "resize_token_embeddings_to_32x": "add_tokens",
    "auto_resume_from_checkpoints":
      "resume_from_checkpoint", "peft_use_dora": "use_dora", "peft_use_rslora": "use_rslora",
    // LLaMA-Factory
    "lora_rank": "lora_r", "lora_target": "lora_target_modules", "additional_target": "lora_modules_to_save",
    "cutoff_len": "max_length", "dataset": "dataset_name", "dataset_dir": "dataset_name", "finetuning_type": "use_peft",
    "template": "chat_template_path", "train_on_prompt": "completion_only_loss", "mask_history": "assistant_only_loss",
    "quantization_bit": "load_in_4bit", "double_quantization": "use_bnb_nested_quant", "val_size": "test_split_size",
    "max_samples": "max_train_samples", "neat_packing": "packing", "flash_attn": "attn_implementation",
    "plot_loss": "output_dir", "stage": "method", "pref_beta": "beta", "pref_loss": "loss_type",
    "resize_vocab": "add_tokens",
    // mlx-lm
    "data": "dataset_name", "hf_dataset": "dataset_name", "iters": "max_steps",
    "batch_size": "per_device_train_batch_size", "steps_per_report": "logging_steps", "steps_per_eval": "eval_steps",
    "save_every": "save_steps", "adapter_path": "output_dir", "grad_checkpoint": "gradient_checkpointing",
    "grad_accumulation_steps": "gradient_accumulation_steps", "mask_prompt": "completion_only_loss",
    "fine_tune_type": "use_peft", "lora_parameters": "lora_r", "lr_schedule": "lr_scheduler_type",
    "resume_adapter_file": "resume_from_checkpoint", "optimizer_config": "adam_epsilon",
    // Short names that people try
    "rank": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout", "scale": "lora_alpha", "lr": "learning_rate",
    "epochs": "num_train_epochs", "num_train_steps": "max_steps", "quantization": "load_in_4bit",
    "output": "output_dir",
    "scheduler": "lr_scheduler_type", "warmup": "warmup_steps", "gradient_clipping": "max_grad_norm",
  ]
}
