"""`/glossary`: the terms of the pages in plain words. A test compares `docs/concepts.md` with these texts."""

import re
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.pages.layout import Frame
from app.pages.render import Page, render

router = APIRouter(include_in_schema=False)

TEXT = """
# Model and tokens

Layer: The number of a transformer block, counted from 0. Scopeview reads the residual stream after that
block. The layer embed is the final image embedding, after the last projection.

Residual stream: The vector of a token as it passes from block to block. Each block adds its output to it.

Token: One of the vectors that the model computes for an image: CLS, or one patch. Token 0 is CLS; tokens 1,
2, ... are the patches, row by row from the top left.

CLS: The token that summarizes the whole image. CLIP computes its image embedding from it.

Patch: One square of the image, 14 x 14 pixels in ViT-L/14. That model has 16 x 16 patches. Pages write
patch (row, column), counted from 0.

Token 137: The patch in row 8, column 8 of 16 x 16 patches: the middle of the image. The authors of
CLIP-Scope studied this token. On another grid, the middle patch has another number.

Any: The maximum of a feature's activation over all tokens of an image, CLS included. A feature fires at any
token if it fires somewhere in the image.

Slot: A layer at a token, for example L5 · CLS. Image grids, counts and names belong to a slot.

# Features

SAE: Sparse autoencoder: an encoder that turns a vector into a few active features, and a decoder that adds
up their directions to approximate the vector.

Feature: One latent of an SAE, identified by its layer and number, with a direction in the model's space:
its decoder row.

Latent: An entry of an SAE's hidden layer. Scopeview calls it a feature.

Activation: The value of a feature at a token. A feature fires, or is active, where its activation is above
zero. Pages round activations; the JSON API gives them in full.

Density: The fraction of indexed images on which a feature fires. 0.062 % is 310 of 500,000 images. A
feature needs at least nine images for an image grid; a feature that never fires is dead.

Top images: The images with the highest activation of a feature. The first nine form its 3 x 3 image grid.

Near-duplicates: Images that look almost the same. A feature's page collapses them into the one that ranks
highest.

Name: The word of a vocabulary whose text embedding is closest to the feature's images. It is an automatic
guess: a low name score, or a close second name, means that no word fits well.

Name score: The cosine of a name's text embedding and the feature vector, which is the mean CLIP embedding
of the feature's images.

Clarity: The visual similarity of a feature's top nine images: the mean pairwise cosine of their CLIP
embeddings. 1 means nine identical images.

Selectivity: Position selectivity: whether a feature fires at the same place in every image. 0: its maximum
is spread evenly over the patches. 1: always at the same patch.

Label entropy: How mixed the labels of a feature's top 20 images are, weighted by activation, in nats. 0:
all have one label. Only for images with labels.

Neighbor: A similar feature, of one of three kinds. Decoder: cosine of the two decoder rows. Co-firing:
images on which both fire divided by images on which either fires (Jaccard). Image embedding: cosine of the
two feature vectors.

Map: The features of a slot as points; features with similar images lie close together.

# Activations of an image

Decomposition: The active features of an image at a layer, with their activation at every token.

Heatmap: The activation of a feature at every patch of one image, drawn over the image.

Activation mass: The contribution of a feature: its activation times the length of its decoder row, summed
over the selected tokens.

Share of activation: The activation mass of a feature or group, as a percentage of all features active
there.

Group: Active features of an image whose decoder rows point in similar directions, found by spherical
k-means. A group's heatmap is the summed activation mass of its features.

Steering: Editing features at one layer: remove, halve, double or set them. The model runs on from the
edited layer, and the page compares the new image embedding with texts and images.

Approximate value: A value that the index does not store and that is recomputed from the lossy thumbnail of
an image. Pages and JSON mark such values. Values of uploads are never approximate.

# Quality of an SAE

Explained variance: One minus the squared error of the reconstruction divided by the variance over the
dimensions of a token; mean over tokens. 1 is perfect. This is CLIP-Scope's definition.

FVU: Fraction of variance unexplained: total squared error divided by total variance around the mean token.
0 is perfect.

MSE: Squared error summed over dimensions, in the SAE's input space; mean over tokens. This is CLIP-Scope's
definition.

L0: The number of active features per token; mean over tokens.

Reconstruction error: The part of a token's vector that the active features do not reconstruct. Pages show
its squared length by patch.
"""


@dataclass(frozen=True)
class Term:
    """An entry of the glossary."""

    name: str
    text: str  # one to three sentences

    @property
    def anchor(self) -> str:
        """`Name score` -> `name-score`, as on the documentation site."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Section:
    """Terms under one heading."""

    title: str
    terms: list[Term]


@dataclass(frozen=True)
class GlossaryPage(Page):
    template = "glossary.html"

    sections: list[Section]


@router.get("/glossary", name="glossary")
def glossary(request: Request) -> HTMLResponse:
    return render(request, GlossaryPage(Frame("glossary"), sections()))


def sections() -> list[Section]:
    """Parses `TEXT`: a paragraph is a heading (`# Features`) or a term (`Density: ...`)."""
    found: list[Section] = []
    for paragraph in TEXT.strip().split("\n\n"):
        words = " ".join(paragraph.split())
        if words.startswith("# "):
            found.append(Section(words.removeprefix("# "), []))
        else:
            name, _, text = words.partition(": ")
            found[-1].terms.append(Term(name, text))
    return found
