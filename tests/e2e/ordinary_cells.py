"""Training cells as people write them, that know nothing of this project: PyTorch and Keras, pictures and texts.

The pictures are scikit-learn's digits; the texts are windows of Python's own documentation and of scikit-learn's, and
which of the two they are from is to be told. Each cell ends by printing its loss, exactly, and its accuracy.
"""

from __future__ import annotations

DATA = """
import collections, re
import numpy as np
import sklearn.linear_model
from pydoc_data.topics import topics
from sklearn.datasets import load_digits

digits = load_digits()
images, labels = (digits.images / 16).astype("float32"), digits.target

def words_of(texts):
    return re.findall(r"[a-z]+", " ".join(texts).lower())

python = words_of(topics[name] for name in sorted(topics))[:14000]
estimators = [getattr(sklearn.linear_model, name) for name in sklearn.linear_model.__all__]
sklearn_docs = words_of(estimator.__doc__ or "" for estimator in estimators)[:14000]
common = collections.Counter(python + sklearn_docs).most_common(400)
known = {word: number for number, (word, _) in enumerate(common, 1)}
windows = [
    ([known.get(word, 0) for word in words[begin : begin + 14]], kind)
    for kind, words in enumerate((python, sklearn_docs)) for begin in range(0, len(words) - 14, 14)
]
order = np.random.default_rng(0).permutation(len(windows))
texts = np.array([windows[place][0] for place in order], dtype="int64")
kinds = np.array([windows[place][1] for place in order], dtype="int64")
"""

_TORCH = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
torch.set_num_threads(1)
CONSTANTS
dataset = TensorDataset(torch.tensor(INPUTS[:TRAIN]), torch.tensor(WANTED[:TRAIN]))
train_loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)

MODEL

model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=lr)
for epoch in range(epochs):
    model.train()
    running_loss = 0.0
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    running_loss /= len(train_loader)

model.eval()
with torch.no_grad():
    predicted = model(torch.tensor(INPUTS[TRAIN:])).argmax(1).numpy()
print("end", running_loss.hex(), (predicted == WANTED[TRAIN:]).mean())
"""

_CNN = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.dropout = nn.Dropout(0.1)
        self.fc1 = nn.Linear(16 * 4, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x.unsqueeze(1)))
        x = nn.functional.max_pool2d(x, 2)
        x = torch.relu(self.conv2(x))
        x = torch.flatten(nn.functional.max_pool2d(x, 2), 1)
        return self.fc2(self.dropout(torch.relu(self.fc1(x))))"""

_LSTM = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(401, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True)
        self.out = nn.Linear(24, 2)

    def forward(self, words):
        states, (hidden, cell) = self.lstm(self.embedding(words))
        return self.out(hidden[-1])"""

_TRANSFORMER = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(401, 16)
        self.positions = nn.Parameter(torch.zeros(14, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(16, 2)

    def forward(self, words):
        return self.out(self.encoder(self.embedding(words) + self.positions).mean(dim=1))"""

_KERAS = """
import keras
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(0)
CONSTANTS
MODEL
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=lr),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(INPUTS[:TRAIN], WANTED[:TRAIN], batch_size=batch_size, epochs=epochs, verbose=0).history
predicted = model(INPUTS[TRAIN:]).numpy().argmax(1)
print("end", history["loss"][-1].hex(), (predicted == WANTED[TRAIN:]).mean())
"""

_KERAS_CNN = """model = keras.Sequential([
    keras.Input((8, 8)),
    layers.Reshape((8, 8, 1)),
    layers.Conv2D(8, 3, activation="relu"),
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dropout(0.1),
    layers.Dense(32, activation="relu"),
    layers.Dense(10),
])"""

_KERAS_LSTM = """model = keras.Sequential([
    keras.Input((14,), dtype="int64"),
    layers.Embedding(401, 16),
    layers.LSTM(16),
    layers.Dense(2),
])"""

_KERAS_TRANSFORMER = """words = keras.Input((14,), dtype="int64")
x = layers.Embedding(401, 16)(words)
attended = layers.MultiHeadAttention(num_heads=2, key_dim=8, dropout=0.1)(x, x)
x = layers.LayerNormalization()(x + attended)
x = layers.LayerNormalization()(x + layers.Dense(16)(layers.Dense(32, activation="relu")(x)))
model = keras.Model(words, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))"""

_TAPE = """
import keras
import tensorflow as tf

keras.utils.set_random_seed(0)
CONSTANTS
model = keras.Sequential([
    keras.Input((8, 8)),
    keras.layers.Flatten(),
    keras.layers.Dense(32, activation="relu"),
    keras.layers.Dense(10),
])
optimizer = keras.optimizers.Adam(learning_rate=lr)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
train_dataset = tf.data.Dataset.from_tensor_slices((INPUTS[:TRAIN], WANTED[:TRAIN])).shuffle(TRAIN).batch(batch_size)

@tf.function
def train_step(inputs, targets):
    with tf.GradientTape() as tape:
        loss = loss_fn(targets, model(inputs, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss

for epoch in range(epochs):
    losses = [float(train_step(inputs, targets)) for inputs, targets in train_dataset]
running_loss = sum(losses) / len(losses)
predicted = model(INPUTS[TRAIN:], training=False).numpy().argmax(1)
print("end", running_loss.hex(), (predicted == WANTED[TRAIN:]).mean())
"""

#: Of pictures and of texts: their inputs, what is wanted, and how many are trained with.
_PICTURES = {"INPUTS": "images", "WANTED": "labels", "TRAIN": "1280"}
_TEXTS = {"INPUTS": "texts", "WANTED": "kinds", "TRAIN": "1600"}


def _cell(frame: str, model: str, data: dict[str, str], lr: float, epochs: int) -> str:
    frame = frame.replace("CONSTANTS", f"lr, batch_size, epochs = {lr}, 32, {epochs}").replace("MODEL", model)
    for name, value in data.items():
        frame = frame.replace(name, value)
    return frame


TORCH = {
    "cnn": _cell(_TORCH, _CNN, _PICTURES, 0.003, 5),
    "lstm": _cell(_TORCH, _LSTM, _TEXTS, 0.01, 3),
    "transformer": _cell(_TORCH, _TRANSFORMER, _TEXTS, 0.005, 3),
}
KERAS = {
    "fit": _cell(_KERAS, _KERAS_CNN, _PICTURES, 0.003, 5),
    "tape": _cell(_TAPE, "", _PICTURES, 0.003, 5),
    "lstm": _cell(_KERAS, _KERAS_LSTM, _TEXTS, 0.01, 3),
    "transformer": _cell(_KERAS, _KERAS_TRANSFORMER, _TEXTS, 0.005, 3),
}
